"""Stuck pods of StatefulSets: somebody must delete them before the set goes on."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from keptn_remedy_actions.cluster import (
    POD,
    STATEFUL_SET,
    Object,
    Ref,
    Workload,
    is_controlled_by,
    is_ready,
    labels_of,
    meta_of,
    name_of,
    spec_of,
    status_of,
    uid_of,
)
from keptn_remedy_actions.cluster.api import FAILURES, ClusterApi, Conflict, NotFound
from keptn_remedy_actions.cluster.history import REVISION_HASH
from keptn_remedy_actions.cluster.trouble import selector

# A pod that is unready for a shorter time may recover: quorum stores must not lose one needlessly.
STUCK_SECONDS = 10.0


def is_ordered(workload: Workload) -> bool:
    """Whether its controller touches no other pod while one is not ready."""
    policy = spec_of(workload.live).get("podManagementPolicy", "OrderedReady")
    return workload.ref.kind == STATEFUL_SET and policy == "OrderedReady"


async def delete_stuck(api: ClusterApi, workload: Workload) -> str | None:
    """Delete a pod that is stuck, if it is of another revision than the live one.

    Kubernetes' documentation calls this a forced rollback. Of an ordered set only the pod that it
    waits for is deleted. A parallel set may keep such a pod, too, where MaxUnavailableStatefulSet
    is on (1.35). A pod below the partition stays: it would come back unchanged. Returns the pod's
    name, None if none was deleted.
    """
    awaited = await _awaited(api, workload)
    for pod in awaited[:1] if is_ordered(workload) else awaited:
        if not _is_stuck(pod, api.now()) or not _is_to_be_replaced(pod, workload.live):
            continue
        with suppress(NotFound, Conflict):  # it is gone, or there is another pod of that name
            await api.delete(Ref(POD, workload.ref.namespace, name_of(pod)), uid_of(pod))
            return name_of(pod)
    return None


async def blocked_by(api: ClusterApi, workload: Workload, wanted: int) -> str | None:
    """The name of the pod for which an ordered set would not come to this number of replicas."""
    if not is_ordered(workload):
        return None
    awaited = await _awaited(api, workload)
    # The last pod may be removed though it is not ready.
    remaining = [pod for pod in awaited[:1] if _ordinal(pod) < _start(workload.live) + wanted]
    return next((name_of(pod) for pod in remaining if _is_stuck(pod, api.now())), None)


async def obstacle(api: ClusterApi, workload: Workload) -> str:
    """Which pod an ordered StatefulSet waits for, in words; empty if there is none to see."""
    if is_ordered(workload):
        with suppress(*FAILURES):
            for pod in (await _awaited(api, workload))[:1]:
                return f"pod {name_of(pod)} is not ready, and an ordered StatefulSet waits for it"
    return ""


async def _awaited(api: ClusterApi, workload: Workload) -> list[Object]:
    """The pods that are not ready or are being deleted, by their ordinals.

    Until the first one is ready, the controller of an ordered set creates, updates and deletes no
    other (`processReplica`).
    """
    pods = await api.list(POD, workload.ref.namespace, labels=selector(workload.live))
    ours = [pod for pod in pods if is_controlled_by(pod, workload.live)]
    awaited = [pod for pod in ours if _is_leaving(pod) or not is_ready(pod)]
    return sorted(awaited, key=_ordinal)


def _is_to_be_replaced(pod: Object, live: Object) -> bool:
    is_old = labels_of(pod).get(REVISION_HASH) != status_of(live).get("updateRevision")
    return is_old and _ordinal(pod) >= _partition(live)


def _is_stuck(pod: Object, now: datetime) -> bool:
    unready = now - _unready_since(pod)
    return not _is_leaving(pod) and unready.total_seconds() >= STUCK_SECONDS


def _is_leaving(pod: Object) -> bool:
    return bool(meta_of(pod).get("deletionTimestamp"))


def _unready_since(pod: Object) -> datetime:
    since: str = meta_of(pod)["creationTimestamp"]
    for condition in status_of(pod).get("conditions") or ():
        if condition["type"] == "Ready":
            since = condition.get("lastTransitionTime") or since
    return datetime.fromisoformat(since)


def _ordinal(pod: Object) -> int:
    ordinal = name_of(pod).rpartition("-")[2]
    return int(ordinal) if ordinal.isdecimal() else 0


def _partition(live: Object) -> int:
    """The lowest ordinal to update."""
    strategy: Object = spec_of(live).get("updateStrategy") or {}
    rolling: Object = strategy.get("rollingUpdate") or {}
    return _start(live) + int(rolling.get("partition") or 0)


def _start(live: Object) -> int:
    """The lowest ordinal (`spec.ordinals.start`, 1.31)."""
    ordinals: Object = spec_of(live).get("ordinals") or {}
    return int(ordinals.get("start") or 0)
