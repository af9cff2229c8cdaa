"""What sets the number of replicas of a workload: its scale subresource, an HPA, or KEDA."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from keptn_remedy import Denied
from keptn_remedy_actions.cluster import (
    HPA,
    OLD_HPA,
    SCALED_OBJECT,
    Kind,
    Object,
    Ref,
    Workload,
    annotations_of,
    meta_of,
    name_of,
    spec_of,
)
from keptn_remedy_actions.cluster.api import ClusterApi, Forbidden, NotFound
from keptn_remedy_actions.cluster.compare_and_set import Field
from keptn_remedy_actions.cluster.obstacles import check_can_act, check_stays

PAUSED = "autoscaling.keda.sh/paused"
PAUSED_REPLICAS = "autoscaling.keda.sh/paused-replicas"
# The default of `maxReplicaCount` of a ScaledObject.
_KEDA_MOST = 100


@dataclass(frozen=True, slots=True)
class Lever:
    """The fields that set the number of replicas.

    An autoscaler chooses between `low` and `high`; `replicas` is the value of `low`, `most` that of
    `high`.
    """

    ref: Ref
    low: str
    replicas: int | str | None
    ordered: int
    """The desired replica count, whether these replicas exist yet or not."""
    subresource: str = ""
    high: str = ""
    most: int | None = None
    live: Object = field(default_factory=dict[str, Any])
    """The object with these fields, as it was read."""

    @property
    def uid(self) -> str:
        uid: str = meta_of(self.live).get("uid", "")
        return uid

    @property
    def least(self) -> int:
        return int(self.replicas or 0)

    def fields(self, wanted: int) -> list[Field]:
        """The fields to set for a number of replicas."""
        value = str(wanted) if isinstance(self.replicas, str) else wanted
        fields = [Field(self.low, self.replicas, value, omits_zero=self.subresource == "scale")]
        if self.high and wanted > (self.most or _KEDA_MOST):
            fields.append(Field(self.high, self.most, wanted))
        return fields


async def find_lever(api: ClusterApi, workload: Workload, scale: Object) -> Lever:
    """Find what sets the workload's number of replicas.

    Raises:
        Denied: several autoscalers claim the workload, or its autoscaler is switched off, is being
            deleted, or says that it can't act.
    """
    ordered = spec_of(scale).get("replicas") or 0
    scaled_object = await _only(api, SCALED_OBJECT, workload)
    if scaled_object:
        ref = Ref(SCALED_OBJECT, workload.ref.namespace, name_of(scaled_object))
        _check_acts(ref, scaled_object)
        return _of_keda(workload, scaled_object, ordered) or direct(workload, scale)
    kind, hpa = await _hpa(api, workload)
    if not hpa:
        return direct(workload, scale)
    ref = Ref(kind, workload.ref.namespace, name_of(hpa))
    _check_acts(ref, hpa)
    if not ordered:
        raise Denied(
            f"{workload.ref} has 0 replicas, which switches its HorizontalPodAutoscaler off;"
            " scale it up by hand to switch it on again"
        )
    return _of_hpa(ref, hpa, ordered)


async def _hpa(api: ClusterApi, workload: Workload) -> tuple[Kind, Object | None]:
    """The autoscaler, in the newest version that the cluster serves."""
    try:
        return HPA, _claiming(workload, HPA, await api.list(HPA, workload.ref.namespace))
    except NotFound:
        return OLD_HPA, await _only(api, OLD_HPA, workload)


def _check_acts(ref: Ref, live: Object) -> None:
    check_stays(ref, live)
    check_can_act(ref, live)


def direct(workload: Workload, scale: Object) -> Lever:
    """The workload's own scale subresource, without regard to an autoscaler."""
    ordered = spec_of(scale).get("replicas") or 0
    return Lever(
        workload.ref, "/spec/replicas", ordered, ordered, subresource="scale", live=workload.live
    )


def _of_hpa(ref: Ref, hpa: Object, ordered: int) -> Lever:
    if owners := [o for o in meta_of(hpa).get("ownerReferences") or () if o.get("controller")]:
        owner = f"{owners[0]['kind']} {owners[0]['name']}"
        raise Denied(
            f"{ref} belongs to {owner}, which would revert the change and which we can't read"
        )
    least, most = spec_of(hpa).get("minReplicas"), spec_of(hpa)["maxReplicas"]
    return Lever(
        ref,
        "/spec/minReplicas",
        least,
        max(ordered, least or 0),
        high="/spec/maxReplicas",
        most=most,
        live=hpa,
    )


def _of_keda(workload: Workload, found: Object, ordered: int) -> Lever | None:
    """The fields of a ScaledObject; None where KEDA is paused without a number of replicas."""
    ref = Ref(SCALED_OBJECT, workload.ref.namespace, name_of(found))
    notes, spec = annotations_of(found), spec_of(found)
    if (paused_at := notes.get(PAUSED_REPLICAS, "")).isdecimal():
        pointer = f"/metadata/annotations/{PAUSED_REPLICAS.replace('/', '~1')}"
        return Lever(ref, pointer, paused_at, int(paused_at), live=found)
    if notes.get(PAUSED, "false") != "false":
        return None
    idle = spec.get("idleReplicaCount")
    if idle is not None and ordered <= idle:
        raise Denied(
            f"{ref} keeps {workload.ref} at its idleReplicaCount {idle} until a trigger of it is"
            " active: until then no minimum brings pods"
        )
    least, most = spec.get("minReplicaCount"), spec.get("maxReplicaCount")
    return Lever(
        ref,
        "/spec/minReplicaCount",
        least,
        max(ordered, least or 0),
        high="/spec/maxReplicaCount",
        most=most,
        live=found,
    )


async def _only(api: ClusterApi, kind: Kind, workload: Workload) -> Object | None:
    return _claiming(workload, kind, await _all(api, kind, workload))


def _claiming(workload: Workload, kind: Kind, found: Sequence[Object]) -> Object | None:
    claims = [each for each in found if _claims(each, workload.ref)]
    if len(claims) > 1:
        names = ", ".join(map(name_of, claims))
        raise Denied(f"several {kind.plural} claim {workload.ref}: {names}")
    return claims[0] if claims else None


async def _all(api: ClusterApi, kind: Kind, workload: Workload) -> Sequence[Object]:
    try:
        return await api.list(kind, workload.ref.namespace)
    except NotFound:  # KEDA is not installed
        return ()
    except Forbidden:
        if kind == OLD_HPA:
            raise
        return ()  # with KEDA, its HPA names the ScaledObject


def _claims(autoscaler: Object, ref: Ref) -> bool:
    target: Object = spec_of(autoscaler).get("scaleTargetRef") or {}
    group = target.get("apiVersion", "apps/v1").rpartition("/")[0]
    return (group, target.get("kind", "Deployment"), target.get("name")) == (
        ref.kind.group,
        ref.kind.name,
        ref.name,
    )
