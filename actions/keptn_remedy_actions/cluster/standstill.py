"""Workloads that stand still: when waiting until the deadline would not help."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from time import monotonic

from keptn_remedy_actions.cluster import (
    POD,
    Object,
    Ref,
    Workload,
    condition_of,
    is_ready,
    meta_of,
    rollout,
    spec_of,
    status_of,
)
from keptn_remedy_actions.cluster.api import FAILURES, ClusterApi
from keptn_remedy_actions.cluster.trouble import are_pods_refused, selector

# A controller that makes any progress does so within this time: a quota may be freed by old pods.
STALLED_SECONDS = 5.0
# Pods that are there may still become ready, whereupon old pods go and leave them their room.
STARTING_SECONDS = 60.0


class Standstill:
    """Watches a workload from look to look. `since` (RFC 3339, UTC) is when it was changed."""

    def __init__(self, api: ClusterApi, ref: Ref, *, since: str) -> None:
        self._api = api
        self._ref = ref
        self._since = since
        self._counts: object = None
        self._still_since = monotonic()

    async def is_refused(self, live: Object) -> bool:
        """Whether its pods are refused, and none of its counts has changed for a while."""
        if self._seconds(live) < (STALLED_SECONDS if _are_all_ready(live) else STARTING_SECONDS):
            return False
        return await are_pods_refused(self._api, Workload(self._ref, live), since=self._since)

    async def will_last(self, workload: Workload, before: int | None) -> bool:
        """Whether pods are refused, or those missing were missing before as well. So many were
        available `before`; None if that is not known.
        """
        return await self.is_refused(workload.live) or await self._is_as_before(workload, before)

    async def _is_as_before(self, workload: Workload, before: int | None) -> bool:
        """Whether as many pods are available as `before`, when some were missing as well, and those
        that are missing now had twice the time that the others needed.
        """
        live, seconds = workload.live, self._seconds(workload.live)
        settles = spec_of(live).get("minReadySeconds") or 0
        if seconds < STARTING_SECONDS + settles or not rollout.as_before(workload, before, ""):
            return False
        with suppress(*FAILURES):
            pods = await self._api.list(POD, self._ref.namespace, labels=selector(live))
            return seconds >= 2 * _start_seconds(pods) + settles
        return False

    def _seconds(self, live: Object) -> float:
        """For how long none of its counts has changed."""
        counts = {k: v for k, v in status_of(live).items() if isinstance(v, int)}
        if counts != self._counts:
            self._counts, self._still_since = counts, monotonic()
        return monotonic() - self._still_since


def _start_seconds(pods: Sequence[Object]) -> float:
    """The longest time that a pod, of those that are ready, took to become so."""
    return max((_seconds_until_ready(pod) for pod in pods if is_ready(pod)), default=0.0)


def _seconds_until_ready(pod: Object) -> float:
    ready = condition_of(pod, "Ready").get("lastTransitionTime")
    if not ready:
        return 0.0
    created = datetime.fromisoformat(meta_of(pod)["creationTimestamp"])
    return (datetime.fromisoformat(ready) - created).total_seconds()


def _are_all_ready(live: Object) -> bool:
    status = status_of(live)
    there = status.get("replicas") or status.get("currentNumberScheduled") or 0
    ready = status.get("readyReplicas") or status.get("numberReady") or 0
    return bool(ready >= there)
