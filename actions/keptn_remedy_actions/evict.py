"""evict: has pods of a workload replaced, a few at a time, as disruption budgets allow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import AliasChoices, Field

from keptn_remedy import Change, Context, Denied, Outcome, PermanentError, Plan
from keptn_remedy_actions.cluster import (
    Object,
    Workload,
    counted,
    is_ready,
    meta_of,
    name_of,
    rollout,
    uid_of,
)
from keptn_remedy_actions.cluster.action import ClusterAction, Target, looks
from keptn_remedy_actions.cluster.eviction import Leaving, evict_all, until_gone
from keptn_remedy_actions.cluster.pods import pods_of
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from keptn_remedy_actions.cluster.targets import TargetValue, resolve
from keptn_remedy_actions.cluster.trouble import reasons


class EvictSettings(KubernetesSettings):
    """How many pods may be evicted."""

    most_pods: int = Field(ge=1, le=100, validation_alias=AliasChoices("evict_most_pods"))
    """The most pods of a workload that one execution evicts. Without it `evict` is off."""


class EvictValue(TargetValue):
    """How many pods, and which."""

    pods: int = Field(default=1, ge=1, le=100)
    unready: bool = False
    """Only pods that are not ready."""


class _Memo(Target):
    pods: list[Leaving]
    available: int


class Evict(ClusterAction):
    """Evict pods of a workload; its controller makes new ones."""

    name = "evict"
    aliases = ("evict-pods",)
    undo_on_failed_verification = False

    Settings: ClassVar[Any] = EvictSettings
    Value: ClassVar[Any] = EvictValue

    settings: EvictSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    async def plan(self, context: Context, value: EvictValue) -> Plan:
        if value.pods > self.settings.most_pods:
            most = self.settings.most_pods
            raise Denied(f"{value.pods} pods are more than EVICT_MOST_PODS allows, {most}")
        workload = await resolve(self.api, self.settings, context, value)
        found = _chosen(await pods_of(self.api, workload), value)
        if not found:
            which = "pod that is not ready" if value.unready else "pod"
            raise PermanentError(f"{workload.ref} has no {which}")
        pods = [Leaving.of(pod) for pod in found]
        memo = _Memo(
            workload=workload.ref,
            uid=uid_of(workload.live),
            pods=pods,
            available=rollout.available_of(workload),
        )
        changes = tuple(Change(each.pod.target, "pod", each.uid, "evicted") for each in pods)
        return Plan(changes, value.notes, memo.model_dump(mode="json"))

    async def apply(self, context: Context, plan: Plan) -> None:
        await evict_all(self.api, _Memo.model_validate(plan.memo).pods)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = _Memo.model_validate(plan.memo)
        if why := await until_gone(self.api, context, memo.pods):
            return Outcome.failed(f"{memo.workload}: {why}")
        workload = Workload(memo.workload, {})
        async for _ in looks(context):
            workload = Workload(memo.workload, await self.there(memo.workload))
            available, before = rollout.available_of(workload), max(memo.available, 1)
            if available >= min(before, rollout.ordered_of(workload)):
                names = ", ".join(each.pod.name for each in memo.pods)
                how = (
                    "is as available as before" if available >= before else "was scaled down since"
                )
                return Outcome.passed(f"evicted {names}; {memo.workload} {how}")
        why = await reasons(self.api, workload)
        available = rollout.available_of(workload)
        return Outcome.failed(
            f"evicted, but {memo.workload} has {counted(available, 'available pod')}, and had"
            f" {memo.available}{why and ': '}{why}"
        )

    async def put_back(self, context: Context, plan: Plan, live: Object) -> bool:
        raise Denied("an eviction can't be undone: the old pods are gone")


def _chosen(pods: Sequence[Object], value: EvictValue) -> list[Object]:
    """Those that are not ready first, then the oldest."""
    fitting = [pod for pod in pods if not (value.unready and is_ready(pod))]
    fitting.sort(key=lambda pod: (is_ready(pod), meta_of(pod)["creationTimestamp"], name_of(pod)))
    return fitting[: value.pods]
