"""How many replicas a workload has: ordered, there, and ready."""

from __future__ import annotations

from dataclasses import dataclass

from keptn_remedy_actions.cluster import (
    DEPLOYMENT,
    POD,
    ROLLOUT,
    STATEFUL_SET,
    Object,
    Ref,
    argo,
    is_ready,
    spec_of,
    status_of,
)
from keptn_remedy_actions.cluster.api import ClusterApi

SCALABLE = (DEPLOYMENT, STATEFUL_SET, ROLLOUT)


@dataclass(frozen=True, slots=True)
class Replicas:
    """One look at a workload's replicas; `live` is the workload at that moment."""

    live: Object
    ordered: int
    there: int
    ready: int
    selector: str = ""

    def are(self, wanted: int, *, fewer: bool) -> bool:
        """Whether the controllers did what was ordered; for `fewer`, that none is left over."""
        if not is_observed(self.live) or self.ordered < wanted or self.ready < wanted:
            return False
        return not (fewer and self.there > self.ordered)


async def look(api: ClusterApi, ref: Ref) -> Replicas:
    live, scale = await api.get(ref), await api.get(ref, "scale")
    return Replicas(
        live,
        ordered=spec_of(scale).get("replicas") or 0,
        there=status_of(scale).get("replicas") or 0,
        ready=await _ready(api, ref, live, scale),
        selector=status_of(scale).get("selector") or "",
    )


async def _ready(api: ClusterApi, ref: Ref, live: Object, scale: Object) -> int:
    """Of a kind that does not tell, its ready pods; without a selector, what is there."""
    if ref.kind in SCALABLE:
        return status_of(live).get("readyReplicas") or 0
    if selector := status_of(scale).get("selector"):
        return sum(map(is_ready, await api.list(POD, ref.namespace, labels=selector)))
    return status_of(scale).get("replicas") or 0


def is_observed(live: Object) -> bool:
    """Whether the controller has seen the newest order, as far as its kind tells."""
    observed = status_of(live).get("observedGeneration")
    return observed is None or argo.covers(observed, live)
