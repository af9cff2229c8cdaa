"""The Roles of `deploy/` grant what their actions need, and nothing else."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from keptn_remedy_actions.cluster.action import ClusterAction
from keptn_remedy_actions.restart import Restart
from keptn_remedy_actions.rollback import Rollback
from keptn_remedy_actions.scale import Scale
from tests.cluster.access import grant, kubeconfig_of, rights, service_account
from tests.cluster.client import ApiError, Cluster, Json
from tests.cluster.driving import acting
from tests.cluster.namespace import IMAGES, Namespace
from tests.deploy.charts import granted, needs_helm, the

COMMITTED = Path(__file__).parents[2] / "deploy" / "rbac.yaml"
ACTIONS: Mapping[str, tuple[type[ClusterAction], Any]] = {
    "scale": (Scale, "+1"),
    "rollback": (Rollback, None),
    "restart": (Restart, None),
}
KINDS = ("deployment", "stateful_set")


def committed_rules() -> list[Json]:
    roles = [
        found for found in yaml.safe_load_all(COMMITTED.read_text()) if found["kind"] == "Role"
    ]
    [role] = roles
    rules: list[Json] = role["rules"]
    return rules


def rules_for(*actions: str, **rbac: bool) -> list[Json]:
    """What the chart grants when only these are switched on."""
    switched = {"toggle-feature": False, **dict.fromkeys(actions, True)}
    rbac_values = {"targetNamespaces": ["shop"], **rbac}
    rules: list[Json] = the("Role", {"actions": switched, "rbac": rbac_values})["rules"]
    return rules


def told(rules: list[Json]) -> set[str]:
    """As the API server lists rights."""
    names = set[str]()
    for group, full, verb in granted(rules):
        resource, slash, subresource = full.partition("/")
        names.add(f"{verb} {resource}{f'.{group}' if group else ''}{slash}{subresource}")
    return names


async def account_with(namespace: Namespace, rules: list[Json], folder: Path) -> Path:
    account = await service_account(namespace, rules)
    return await kubeconfig_of(namespace, account, folder)


async def test_the_committed_role_grants_what_it_lists_and_nothing_else(
    namespace: Namespace, tmp_path: Path
) -> None:
    nobody = await service_account(namespace, name="nobody")
    kubeconfig = await account_with(namespace, committed_rules(), tmp_path)
    async with (
        Cluster.connected(kubeconfig) as ours,
        Cluster.connected(await kubeconfig_of(namespace, nobody, tmp_path)) as anyone,
    ):
        anyones = await rights(anyone, namespace.name)
        assert await rights(ours, namespace.name) - anyones == told(committed_rules())
        assert await rights(ours, "kube-system") == await rights(anyone, "kube-system")


async def test_what_is_not_granted_is_denied(namespace: Namespace, tmp_path: Path) -> None:
    await namespace.deployment()
    kubeconfig = await account_with(namespace, committed_rules(), tmp_path)
    async with Cluster.connected(kubeconfig) as ours:
        for method, path in (
            ("GET", f"/api/v1/namespaces/{namespace.name}/secrets"),
            ("GET", f"/api/v1/namespaces/{namespace.name}/configmaps"),
            ("GET", "/apis/apps/v1/namespaces/kube-system/deployments"),
            ("GET", "/apis/apps/v1/deployments"),
            ("DELETE", namespace.path("deployments", "carts")),
            ("POST", namespace.path("pods")),
            ("POST", namespace.path("rolebindings")),
        ):
            with pytest.raises(ApiError) as caught:
                await ours.call(method, path, {} if method == "POST" else None)
            assert caught.value.status == 403, (method, path)


@pytest.mark.parametrize("kind", KINDS)
async def test_with_the_committed_role_every_action_passes(
    namespace: Namespace, tmp_path: Path, kind: str
) -> None:
    workload = await getattr(namespace, kind)()
    await workload.update(IMAGES[1])
    kubeconfig = await account_with(namespace, committed_rules(), tmp_path)
    for action, value in ACTIONS.values():
        async with acting(action, namespace, kubeconfig) as drive:
            outcome = await drive.run(value)
        assert outcome.status == "succeeded", outcome
        assert outcome.result != "fail", outcome
    told = {event["reason"] for event in await namespace.events("carts")}
    assert {"RemedyScaled", "RemedyRolledBack", "RemedyRestarted"} <= told


@pytest.mark.parametrize("kind", KINDS)
async def test_the_committed_role_is_enough_for_undoing(
    namespace: Namespace, tmp_path: Path, kind: str
) -> None:
    workload = await getattr(namespace, kind)()
    await workload.update(IMAGES[1])
    await namespace.autoscaler(workload, 1, 2)
    kubeconfig = await account_with(namespace, committed_rules(), tmp_path)
    for action, value in ((Scale, {"replicas": 3}), (Rollback, {})):
        async with acting(action, namespace, kubeconfig) as drive:
            plan = await drive.plan(value)
            await drive.apply(plan)
            assert (await drive.verify(plan)).result == "pass"
            assert await drive.undo(plan) == "undone"
    assert await workload.image() == IMAGES[1]
    told = [event["reason"] for event in await namespace.events("carts")]
    assert told.count("RemedyUndone") == 2


@needs_helm
@pytest.mark.parametrize("name", ["rollback", "restart"])
async def test_the_role_of_one_action_is_enough_for_a_daemon_set(
    namespace: Namespace, tmp_path: Path, name: str
) -> None:
    workload = await namespace.daemon_set()
    await workload.update(IMAGES[1])
    kubeconfig = await account_with(namespace, rules_for(name), tmp_path)
    async with acting(ACTIONS[name][0], namespace, kubeconfig) as drive:
        outcome = await drive.run(None)
    assert (outcome.status, outcome.result) == ("succeeded", "pass"), outcome


@needs_helm
@pytest.mark.parametrize("name", ACTIONS)
async def test_the_role_of_one_action_is_enough_for_it_alone(
    namespace: Namespace, tmp_path: Path, name: str
) -> None:
    workload = await namespace.deployment()
    await workload.update(IMAGES[1])
    kubeconfig = await account_with(namespace, rules_for(name), tmp_path)
    for other, (action, value) in ACTIONS.items():
        # Rollback and restart both patch the pod template; only rollback may look at revisions.
        is_granted = other == name or (name, other) == ("rollback", "restart")
        async with acting(action, namespace, kubeconfig) as drive:
            outcome = await drive.run(value)
        assert (outcome.status == "succeeded") == is_granted, outcome
        if not is_granted:
            assert "not allowed: " in outcome.message
            assert namespace.name in outcome.message


@needs_helm
async def test_rollouts_and_keda_are_granted_where_they_are_asked_for(
    namespace: Namespace, tmp_path: Path, reduced_crds: None
) -> None:
    account = await service_account(namespace, rules_for("scale"))
    kubeconfig = await kubeconfig_of(namespace, account, tmp_path)
    rollout = await namespace.rollout(replicas=1)
    await namespace.scaled_object(rollout, 1, 3)
    async with acting(Scale, namespace, kubeconfig) as drive:
        assert "(no right to read rollouts)" in await drive.refusal(2)
        await grant(namespace, account, rules_for("scale", argoRollouts=True, keda=True))
        plan = await drive.plan(2)
        await drive.apply(plan)
    spec = (await namespace.get("scaledobjects", "carts"))["spec"]
    assert spec["minReplicaCount"] == 2


async def test_what_is_missing_is_named(namespace: Namespace, tmp_path: Path) -> None:
    await namespace.deployment()
    kubeconfig = await account_with(namespace, [], tmp_path)
    async with acting(Scale, namespace, kubeconfig) as drive:
        refusal = await drive.refusal(2)
    assert f"not allowed: get deployments.apps carts in {namespace.name}: " in refusal
    assert 'cannot get resource "deployments" in API group "apps"' in refusal
