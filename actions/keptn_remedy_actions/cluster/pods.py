"""The pods of a workload that a controller would make anew."""

from __future__ import annotations

from keptn_remedy import PermanentError
from keptn_remedy_actions.cluster import (
    DAEMON_SET,
    POD,
    STATEFUL_SET,
    Object,
    Workload,
    is_controlled_by,
    labels_of,
    meta_of,
)
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.trouble import selector

_HASHES = ("pod-template-hash", "rollouts-pod-template-hash")


async def pods_of(api: ClusterApi, workload: Workload) -> list[Object]:
    """Those that the workload controls, without those that are being deleted.

    Raises:
        PermanentError: it selects none.
    """
    labels = selector(workload.live)
    if not labels:
        raise PermanentError(f"{workload.ref} selects no pods")
    found = await api.list(POD, workload.ref.namespace, labels=labels)
    return [
        pod
        for pod in found
        if not meta_of(pod).get("deletionTimestamp") and _controls(workload, pod)
    ]


def _controls(workload: Workload, pod: Object) -> bool:
    """Whether the pod is the workload's own: selectors of two workloads may overlap."""
    if workload.ref.kind in (STATEFUL_SET, DAEMON_SET):
        return is_controlled_by(pod, workload.live)
    owners = meta_of(pod).get("ownerReferences") or ()
    sets = [e["name"] for e in owners if e.get("controller") and e["kind"] == "ReplicaSet"]
    # A ReplicaSet is named after its Deployment or Rollout and the hash of the template. One that
    # was adopted has a name of its own, and its pods have no hash.
    ends = [f"-{labels_of(pod)[name]}" for name in _HASHES if name in labels_of(pod)]
    ours = [f"{workload.ref.name}{end}" for end in ends]
    return any(name in ours or not name.endswith(tuple(ends)) for name in sets)
