"""The provider may do what its switched-on actions need, in the named namespaces, and no more."""

from itertools import chain, combinations

import pytest
import yaml

from deploy import render
from keptn_remedy_actions.cluster.rights import CLUSTER_RIGHTS, RIGHTS
from tests.deploy.charts import (
    ALL,
    CLUSTER_ACTIONS,
    TARGETS,
    Json,
    each_values,
    granted,
    needs_helm,
    of_kind,
    refusal,
    the,
)

pytestmark = needs_helm

SUBSETS = [*chain.from_iterable(combinations(CLUSTER_ACTIONS, n) for n in (1, 2, 3))]
KINDS = ("deployments", "statefulsets", "daemonsets")

LOOKING = {("apps", kind, verb) for kind in KINDS[:2] for verb in ("get", "list")} | {
    ("", "pods", "list"),
    ("", "events", "list"),
    ("", "events", "create"),
}
BUDGETS = {("policy", "poddisruptionbudgets", "list")}
CHANGING = {("apps", kind, "patch") for kind in KINDS} | {
    ("apps", "daemonsets", "get"),
    ("apps", "daemonsets", "list"),
}
NEEDS = {
    "scale": {
        *BUDGETS,
        *(("apps", f"{kind}/scale", verb) for kind in KINDS[:2] for verb in ("get", "patch")),
        *(("autoscaling", "horizontalpodautoscalers", v) for v in ("get", "list", "patch")),
    },
    "rollback": {
        *CHANGING,
        ("apps", "replicasets", "list"),
        ("apps", "controllerrevisions", "list"),
        ("", "pods", "delete"),
    },
    "restart": CHANGING | BUDGETS,
}  # fmt: skip
OF_ROLLOUTS = {
    "scale": {("argoproj.io", "rollouts/scale", "get"), ("argoproj.io", "rollouts/scale", "patch")},
    "rollback": {
        ("argoproj.io", "rollouts", "patch"),
        ("argoproj.io", "rollouts/status", "patch"),
        ("apps", "replicasets", "get"),
    },
    "restart": {("argoproj.io", "rollouts", "patch")},
}
OF_KEDA = {("keda.sh", "scaledobjects", verb) for verb in ("get", "list", "patch")}


def values_of(actions: tuple[str, ...], **rbac: object) -> Json:
    return {
        "actions": {"toggle-feature": False, **dict.fromkeys(actions, True)},
        "rbac": {"targetNamespaces": ["shop"], **rbac},
    }


@pytest.mark.parametrize("actions", SUBSETS, ids="+".join)
def test_a_role_has_what_its_actions_need_and_no_more(actions: tuple[str, ...]) -> None:
    rights = list(granted(the("Role", values_of(actions))["rules"]))
    assert set(rights) == LOOKING.union(*(NEEDS[action] for action in actions))
    assert len(set(rights)) == len(rights)


@pytest.mark.parametrize("actions", SUBSETS, ids="+".join)
def test_rollouts_and_keda_are_extra(actions: tuple[str, ...]) -> None:
    extra = values_of(actions, argoRollouts=True, keda=True)
    added = {*granted(the("Role", extra)["rules"])} - {
        *granted(the("Role", values_of(actions))["rules"])
    }
    looking = {("argoproj.io", "rollouts", verb) for verb in ("get", "list")}
    expected = looking.union(*(OF_ROLLOUTS[action] for action in actions))
    assert added == expected | (OF_KEDA if "scale" in actions else set())


@pytest.mark.parametrize("others", [(), ("scale",)], ids=["alone", "beside scale"])
def test_run_job_may_handle_jobs(others: tuple[str, ...]) -> None:
    rights = list(granted(the("Role", values_of(("run-job", *others)))["rules"]))
    without = set(granted(the("Role", values_of(others))["rules"])) if others else set()
    assert set(rights) - without == {
        *(("batch", "jobs", verb) for verb in ("create", "get", "delete")),
        ("", "configmaps", "create"),
        ("", "pods/log", "get"),
        *([] if others else [("", "pods", "list")]),
    }
    assert len(set(rights)) == len(rights)


def test_evict_may_evict_in_the_target_namespaces() -> None:
    rights = list(granted(the("Role", values_of(("evict",)))["rules"]))
    assert set(rights) == LOOKING | {
        *(("apps", "daemonsets", verb) for verb in ("get", "list")),
        ("", "pods", "get"),
        ("", "pods/eviction", "create"),
    }


@pytest.mark.parametrize("templates", [False, True])
def test_resize_may_resize_pods_and_change_templates_where_that_is_allowed(templates: bool) -> None:
    values = {**values_of(("resize",)), "resize": {"templates": templates}}
    changing = {("apps", kind, "patch") for kind in KINDS} if templates else set()
    assert {*granted(the("Role", values)["rules"])} == LOOKING | changing | {
        *(("apps", "daemonsets", verb) for verb in ("get", "list")),
        ("", "pods", "get"),
        ("", "pods/resize", "get"),
        ("", "pods/resize", "patch"),
    }


@pytest.mark.parametrize("kinds", [["deployments"], ["rollouts"], ["deployments", "rollouts"]])
def test_pause_rollout_may_pause_the_kinds_that_are_named(kinds: list[str]) -> None:
    values = {**values_of(("pause-rollout",)), "pauseRollout": {"kinds": kinds}}
    groups = {"deployments": "apps", "rollouts": "argoproj.io"}
    verbs = ("get", "list", "patch")
    assert {*granted(the("Role", values)["rules"])} == {
        ("", "events", "create"),
        *((groups[kind], kind, verb) for kind in kinds for verb in verbs),
    }


def test_argocd_may_change_applications_in_their_namespace_alone() -> None:
    values = {"actions": {"toggle-feature": False, "argocd": True}, "argocd": {"namespace": "cd"}}
    role, binding = the("Role", values), the("RoleBinding", values)
    assert {role["metadata"]["namespace"], binding["metadata"]["namespace"]} == {"cd"}
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert {*granted(role["rules"])} == {
        ("argoproj.io", "applications", "get"),
        ("argoproj.io", "applications", "patch"),
        ("", "events", "create"),
    }


@pytest.mark.parametrize("action", ["drain-node", "uncordon"])
def test_rights_on_nodes_are_the_cluster_s(action: str) -> None:
    values: Json = {"actions": {action: True}}
    assert of_kind("Role", values) == []
    role, binding = the("ClusterRole", values), the("ClusterRoleBinding", values)
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    nodes = {("", "nodes", verb) for verb in ("get", "list", "patch")}
    pods = {("", "pods", "get"), ("", "pods", "list"), ("", "pods/eviction", "create")}
    assert {*granted(role["rules"])} == nodes | (pods if action == "drain-node" else set())


@pytest.mark.parametrize("action", [*RIGHTS])
def test_doctor_looks_at_what_the_chart_grants(action: str) -> None:
    looked_at = {(right.group, right.resource, right.verb) for right in RIGHTS[action]}
    # Of the stores of flags, one is in the cluster.
    flags: Json = {"flags": {"settings": {"OPENFEATURE_FLAGS": "{project}-{stage}/flags"}}}
    assert looked_at == {*granted(the("Role", {**values_of((action,)), **flags})["rules"])}


@pytest.mark.parametrize("action", [*CLUSTER_RIGHTS])
def test_doctor_looks_at_the_rights_on_nodes(action: str) -> None:
    looked_at = {(right.group, right.resource, right.verb) for right in CLUSTER_RIGHTS[action]}
    assert looked_at == {*granted(the("ClusterRole", {"actions": {action: True}})["rules"])}


def test_further_scale_targets_are_named_one_by_one() -> None:
    target = {"apiGroup": "example.com", "resource": "shards"}
    rights = {*granted(the("Role", values_of(("scale",), scaleTargets=[target]))["rules"])}
    assert {right for right in rights if right[0] == "example.com"} == {
        ("example.com", "shards", "get"),
        ("example.com", "shards", "list"),
        ("example.com", "shards/scale", "get"),
        ("example.com", "shards/scale", "patch"),
    }
    without_scale = the("Role", values_of(("restart",), scaleTargets=[target]))["rules"]
    assert not [right for right in granted(without_scale) if right[0] == "example.com"]


@each_values
def test_nothing_is_granted_with_an_asterisk(values: Json) -> None:
    for role in (*of_kind("Role", values), *of_kind("ClusterRole", values)):
        assert not [right for right in granted(role["rules"]) if "*" in right]


def test_each_target_namespace_gets_its_role_bound_to_the_provider() -> None:
    roles, bindings = of_kind("Role", ALL), of_kind("RoleBinding", ALL)
    for found in (roles, bindings):
        assert [each["metadata"]["namespace"] for each in found] == TARGETS["targetNamespaces"]
    for binding in bindings:
        assert binding["roleRef"]["name"] == roles[0]["metadata"]["name"]
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "keptn-remedy", "namespace": "keptn"}
        ]
    assert the("ServiceAccount", ALL)["metadata"]["name"] == "keptn-remedy"


def test_without_a_cluster_action_there_is_no_role() -> None:
    values: Json = {"rbac": TARGETS}
    kinds = ("Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding")
    assert [found for kind in kinds for found in of_kind(kind, values)] == []


def test_a_cluster_role_is_made_only_when_asked_for() -> None:
    assert of_kind("ClusterRole", ALL) == []
    asked = {**ALL, "rbac": {"clusterWide": True}}
    assert (of_kind("Role", asked), of_kind("RoleBinding", asked)) == ([], [])
    role, binding = the("ClusterRole", asked), the("ClusterRoleBinding", asked)
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert {*granted(role["rules"])} == {*granted(of_kind("Role", ALL)[0]["rules"])}


def test_a_cluster_action_without_a_namespace_is_refused() -> None:
    assert "rbac.targetNamespaces" in refusal({"actions": {"scale": True}})


def test_installations_in_two_namespaces_share_no_role() -> None:
    for values in (ALL, {**ALL, "rbac": {"clusterWide": True}}):
        names = [
            {
                (found["kind"], found["metadata"].get("namespace"), found["metadata"]["name"])
                for found in yaml.safe_load_all(render.templates(values, namespace)["rbac"])
            }
            for namespace in ("keptn", "keptn-too")
        ]
        assert not names[0] & names[1]


@pytest.mark.parametrize("rbac", [TARGETS, {"clusterWide": True}])
def test_rights_are_never_given_to_the_account_of_all_pods(rbac: Json) -> None:
    values: Json = {**ALL, "rbac": rbac, "serviceAccount": {"create": False}}
    assert "set serviceAccount.name" in refusal(values)


def test_rights_of_ones_own_may_be_used() -> None:
    values = {**ALL, "rbac": {"create": False}, "serviceAccount": {"create": False, "name": "my"}}
    assert (of_kind("Role", values), of_kind("ServiceAccount", values)) == ([], [])
    spec = the("Deployment", values)["spec"]["template"]["spec"]
    assert spec["serviceAccountName"] == "my"
