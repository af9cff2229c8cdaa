"""Pods that quota, Pod Security or a webhook refuse: waiting until a deadline would not help."""

from __future__ import annotations

import time

from keptn_remedy_actions.cluster import Object, Ref, Workload, status_of
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.trouble import are_pods_refused

# A controller that makes any progress does so within this time: a quota may be freed by old pods.
STALLED_SECONDS = 5.0
# Pods that are there may still become ready, whereupon old pods go and leave them their room.
STARTING_SECONDS = 60.0


class Refusals:
    """Watches a workload from look to look for pods that are refused while nothing moves."""

    def __init__(self, api: ClusterApi, ref: Ref, *, since: str) -> None:
        self._api = api
        self._ref = ref
        self._since = since
        self._counts: object = None
        self._still_since = time.monotonic()

    async def persist(self, live: Object) -> bool:
        """Whether its pods are refused, and none of its counts has changed for a while."""
        counts = {k: v for k, v in status_of(live).items() if isinstance(v, int)}
        if counts != self._counts:
            self._counts, self._still_since = counts, time.monotonic()
        seconds = STALLED_SECONDS if _are_all_ready(live) else STARTING_SECONDS
        if time.monotonic() - self._still_since < seconds:
            return False
        return await are_pods_refused(self._api, Workload(self._ref, live), since=self._since)


def _are_all_ready(live: Object) -> bool:
    status = status_of(live)
    there = status.get("replicas") or status.get("currentNumberScheduled") or 0
    ready = status.get("readyReplicas") or status.get("numberReady") or 0
    return bool(ready >= there)
