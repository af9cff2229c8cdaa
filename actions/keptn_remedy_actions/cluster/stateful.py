"""Ordered StatefulSets: they wait for pods that never get ready, unless somebody deletes them."""

from __future__ import annotations

from keptn_remedy_actions.cluster import (
    POD,
    STATEFUL_SET,
    Object,
    Ref,
    Workload,
    is_controlled_by,
    is_ready,
    name_of,
    spec_of,
    uid_of,
)
from keptn_remedy_actions.cluster.api import ClusterApi, Conflict, NotFound
from keptn_remedy_actions.cluster.history import REVISION_HASH


def is_ordered(workload: Workload) -> bool:
    """Whether it touches no further pod while one is not ready."""
    policy = spec_of(workload.live).get("podManagementPolicy", "OrderedReady")
    return workload.ref.kind == STATEFUL_SET and policy == "OrderedReady"


async def delete_stuck(api: ClusterApi, workload: Workload, revision: str) -> list[str]:
    """Delete the pods of a former revision that are not ready ("Forced rollback" in Kubernetes'
    documentation); not those below the partition, which would come back as they were.
    """
    namespace = workload.ref.namespace
    deleted: list[str] = []
    for pod in await api.list(POD, namespace, labels=f"{REVISION_HASH}={revision}"):
        if is_controlled_by(pod, workload.live) and not is_ready(pod):
            if _ordinal(pod) < _partition(workload.live):
                continue
            await _delete(api, Ref(POD, namespace, name_of(pod)), uid_of(pod))
            deleted.append(name_of(pod))
    return deleted


async def _delete(api: ClusterApi, pod: Ref, uid: str) -> None:
    try:
        await api.delete(pod, uid)
    except (NotFound, Conflict):  # gone, or a namesake that came after it
        return


def _ordinal(pod: Object) -> int:
    ordinal = name_of(pod).rpartition("-")[2]
    return int(ordinal) if ordinal.isdecimal() else 0


def _partition(live: Object) -> int:
    """Ordinals count from `spec.ordinals.start` (1.31)."""
    strategy: Object = spec_of(live).get("updateStrategy") or {}
    rolling: Object = strategy.get("rollingUpdate") or {}
    ordinals: Object = spec_of(live).get("ordinals") or {}
    lowest: int = ordinals.get("start", 0) + rolling.get("partition", 0)
    return lowest
