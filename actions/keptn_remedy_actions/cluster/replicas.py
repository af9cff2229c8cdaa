"""How many replicas a workload has: desired, existing, and ready."""

from __future__ import annotations

from dataclasses import dataclass

from keptn_remedy_actions.cluster import (
    DEPLOYMENT,
    POD,
    ROLLOUT,
    STATEFUL_SET,
    Object,
    Ref,
    Workload,
    argo,
    is_ready,
    spec_of,
    status_of,
)
from keptn_remedy_actions.cluster.api import ClusterApi

SCALABLE = (DEPLOYMENT, STATEFUL_SET, ROLLOUT)


@dataclass(frozen=True, slots=True)
class Replicas:
    """A workload's replicas at one moment: desired (`ordered`), existing (`there`) and ready."""

    live: Object
    ordered: int
    there: int
    ready: int
    selector: str = ""

    @property
    def missing(self) -> int:
        """How many of those desired are not ready."""
        return max(self.ordered - self.ready, 0)

    def are(self, wanted: int, *, fewer: bool, missing: int = 0) -> bool:
        """Whether `wanted` or more are desired, and ready but for those `missing` before; with
        `fewer`, that no others exist.
        """
        if not is_observed(self.live) or self.ordered < wanted or self.ready < wanted - missing:
            return False
        return not (fewer and self.there > self.ordered)


async def look(api: ClusterApi, ref: Ref) -> Replicas:
    live, scale = await api.get(ref), await api.get(ref, "scale")
    return await counted(api, Workload(ref, live), scale)


async def counted(api: ClusterApi, workload: Workload, scale: Object) -> Replicas:
    """The replicas of a workload and its scale subresource that were read already."""
    return Replicas(
        workload.live,
        ordered=spec_of(scale).get("replicas") or 0,
        there=status_of(scale).get("replicas") or 0,
        ready=await _ready(api, workload.ref, workload.live, scale),
        selector=status_of(scale).get("selector") or "",
    )


async def _ready(api: ClusterApi, ref: Ref, live: Object, scale: Object) -> int:
    """The ready replicas: from the status, else by counting pods, else those that exist."""
    if ref.kind in SCALABLE:
        return status_of(live).get("readyReplicas") or 0
    if selector := status_of(scale).get("selector"):
        return sum(map(is_ready, await api.list(POD, ref.namespace, labels=selector)))
    return status_of(scale).get("replicas") or 0


def is_observed(live: Object) -> bool:
    """Whether the controller has seen the current spec; kinds without that field count as seen."""
    observed = status_of(live).get("observedGeneration")
    return observed is None or argo.covers(observed, live)
