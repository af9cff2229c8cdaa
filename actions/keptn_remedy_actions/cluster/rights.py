"""The rights that each action needs in a namespace, and whether we have them: for `remedy doctor`.

The chart grants the same (deploy/chart/templates/_actions.tpl).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keptn_remedy import Finding
from keptn_remedy_actions.cluster.api import FAILURES, ClusterApi
from keptn_remedy_actions.cluster.settings import PLACEHOLDER

ABOUT = "kubernetes"


class Right(NamedTuple):
    """One verb on one resource."""

    verb: str
    resource: str
    group: str = ""

    def __str__(self) -> str:
        return f"{self.verb} {self.resource}"


def _rights(group: str, resources: Sequence[str], verbs: Sequence[str]) -> tuple[Right, ...]:
    return tuple(Right(verb, resource, group) for resource in resources for verb in verbs)


_WORKLOADS = _rights("apps", ("deployments", "statefulsets"), ("get", "list"))
_LOOKING = (*_rights("", ("pods",), ("list",)), *_rights("", ("events",), ("list", "create")))
_BUDGETS = _rights("policy", ("poddisruptionbudgets",), ("list",))
_TEMPLATES = (
    *_rights("apps", ("daemonsets",), ("get", "list")),
    *_rights("apps", ("deployments", "statefulsets", "daemonsets"), ("patch",)),
)
RIGHTS: Mapping[str, tuple[Right, ...]] = {
    "scale": (
        *_WORKLOADS,
        *_LOOKING,
        *_rights("apps", ("deployments/scale", "statefulsets/scale"), ("get", "patch")),
        *_rights("autoscaling", ("horizontalpodautoscalers",), ("get", "list", "patch")),
        *_BUDGETS,
    ),
    "restart": (*_WORKLOADS, *_LOOKING, *_TEMPLATES, *_BUDGETS),
    "rollback": (
        *_WORKLOADS,
        *_LOOKING,
        *_TEMPLATES,
        *_rights("", ("pods",), ("delete",)),
        *_rights("apps", ("replicasets", "controllerrevisions"), ("list",)),
    ),
    "evict": (
        *_WORKLOADS,
        *_LOOKING,
        *_rights("apps", ("daemonsets",), ("get", "list")),
        *_rights("", ("pods",), ("get",)),
        *_rights("", ("pods/eviction",), ("create",)),
    ),
    "resize": (
        *_WORKLOADS,
        *_LOOKING,
        *_rights("apps", ("daemonsets",), ("get", "list")),
        *_rights("", ("pods",), ("get",)),
        *_rights("", ("pods/resize",), ("get", "patch")),
    ),
    "pause-rollout": (
        *_rights("apps", ("deployments",), ("get", "list", "patch")),
        *_rights("", ("events",), ("create",)),
    ),
    "argocd": (
        *_rights("argoproj.io", ("applications",), ("get", "patch")),
        *_rights("", ("events",), ("create",)),
    ),
    "toggle-feature": _rights("core.openfeature.dev", ("featureflags",), ("get", "patch")),
    "run-job": (
        *_rights("batch", ("jobs",), ("create", "get", "delete")),
        *_rights("", ("configmaps",), ("create",)),
        *_rights("", ("pods",), ("list",)),
        *_rights("", ("pods/log",), ("get",)),
    ),
}
_NODES = _rights("", ("nodes",), ("get", "list", "patch"))
CLUSTER_RIGHTS: Mapping[str, tuple[Right, ...]] = {
    "uncordon": _NODES,
    "drain-node": (
        *_NODES,
        *_rights("", ("pods",), ("get", "list")),
        *_rights("", ("pods/eviction",), ("create",)),
    ),
}
"""Those of actions on nodes, which belong to no namespace."""


async def of_action(
    api: ClusterApi, action: str, namespaces: Sequence[str], template: str
) -> Sequence[Finding]:
    """The same in the namespaces that are named, or else in that of the template, if it is one."""
    named = namespaces or ([] if PLACEHOLDER.search(template) else [template])
    if not named and action not in CLUSTER_RIGHTS:
        why = "rights are not looked at: the namespace depends on the trigger"
        return [Finding(ABOUT, None, why, "name one with --namespace")]
    return await diagnose(api, action, named)


async def diagnose(api: ClusterApi, action: str, namespaces: Sequence[str]) -> list[Finding]:
    """Ask the API server for each right of an action in each namespace, or in the cluster."""
    found: list[Finding] = []
    wanted = CLUSTER_RIGHTS.get(action) or RIGHTS[action]
    for namespace in ("",) if action in CLUSTER_RIGHTS else namespaces:
        try:
            missing = [
                right
                for right in wanted
                if not await api.may(namespace, right.verb, right.resource, right.group)
            ]
        except FAILURES as error:
            return [Finding(ABOUT, False, str(error), "check KUBECONFIG, or the service account")]
        found.append(_finding(action, namespace, missing))
    return found


def _finding(action: str, namespace: str, missing: Sequence[Right]) -> Finding:
    where = namespace or "the cluster"
    if not missing:
        return Finding(ABOUT, True, f"{action} has its rights in {where}")
    lacks = ", ".join(map(str, missing))
    to_do = "grant them: rbac.targetNamespaces of the chart, or deploy/rbac.yaml"
    return Finding(ABOUT, False, f"{action} lacks in {where}: {lacks}", to_do)
