"""pause-rollout: stops the rollout of a Deployment or of an Argo Rollout where it is."""

from __future__ import annotations

import time
from typing import Any, ClassVar

from pydantic import AliasChoices, Field, field_validator

from keptn_remedy import Change, Context, Denied, Outcome, Plan
from keptn_remedy_actions.cluster import (
    DEPLOYMENT,
    ROLLOUT,
    Kind,
    Object,
    Workload,
    argo,
    kube_events,
    obstacles,
    owners,
    rollout,
    spec_of,
    uid_of,
)
from keptn_remedy_actions.cluster.action import ClusterAction, Target, check_same, looks
from keptn_remedy_actions.cluster.api import rfc3339
from keptn_remedy_actions.cluster.compare_and_set import (
    ChangedMeanwhile,
    compare_and_set,
    foreseen,
)
from keptn_remedy_actions.cluster.compare_and_set import Field as Pointed
from keptn_remedy_actions.cluster.managers import who_set
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from keptn_remedy_actions.cluster.targets import TargetValue, resolve

_PAUSED = "/spec/paused"
_KINDS = {kind.plural: kind for kind in (DEPLOYMENT, ROLLOUT)}


class PauseRolloutSettings(KubernetesSettings):
    """What may be paused."""

    kinds: str = Field(min_length=1, validation_alias=AliasChoices("pause_rollout_kinds"))
    """What may be paused: `deployments`, `rollouts`, or both, separated by commas. Without it
    `pause-rollout` is off."""

    @field_validator("kinds")
    @classmethod
    def _are_known(cls, text: str) -> str:
        for name in text.split(","):
            if name.strip().lower() not in _KINDS:
                raise ValueError(f"{name.strip()!r} can't be paused: write deployments,rollouts")
        return text

    @property
    def allowed(self) -> tuple[Kind, ...]:
        return tuple(_KINDS[name.strip().lower()] for name in self.kinds.split(","))


class _Memo(Target):
    was: bool | None
    """What the field was before; None if it was absent."""
    contested: bool
    planned_at: str

    @property
    def field(self) -> Pointed:
        return Pointed(_PAUSED, self.was, True)


class PauseRollout(ClusterAction):
    """Pause a rollout; undo resumes it."""

    name = "pause-rollout"
    aliases = ("rollout-pause", "pause-deployment")

    Settings: ClassVar[Any] = PauseRolloutSettings
    Value: ClassVar[Any] = TargetValue

    settings: PauseRolloutSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    async def plan(self, context: Context, value: TargetValue) -> Plan:
        workload = await resolve(self.api, self.settings, context, value, self.settings.allowed)
        obstacles.check_can_act(workload.ref, workload.live)
        memo = _Memo(
            workload=workload.ref,
            uid=uid_of(workload.live),
            was=spec_of(workload.live).get("paused"),
            contested=owners.reverts(workload.live),
            planned_at=rfc3339(self.api.now()),
        )
        stored = memo.model_dump(mode="json")
        if memo.was:
            return Plan((), (f"{workload.ref} is paused already", *value.notes), stored)
        if await foreseen(self.api, workload.ref, [memo.field]) != [True]:
            raise Denied(f"the cluster's admission would not pause {workload.ref}")
        notes = self.ownership_notes(workload.ref, workload.live, _PAUSED)
        change = Change(workload.ref.target, "paused", memo.was, True)
        return Plan((change,), (*notes, *value.notes), stored)

    async def apply(self, context: Context, plan: Plan) -> None:
        if not plan.changes:
            return
        memo = _Memo.model_validate(plan.memo)
        live = await self.there(memo.workload)
        obstacles.check_stays(memo.workload, live)
        await compare_and_set(self.api, memo.workload, [memo.field], uid=memo.uid)
        if self.settings.release_fields:
            await self.let_go(context, memo.workload, _PAUSED)
        await kube_events.record(self.api, context, memo.workload, live, "RemedyPaused", str(plan))

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = _Memo.model_validate(plan.memo)
        settle, seen_at = self.settings.settle(contested=memo.contested), float("inf")
        if not plan.changes:
            return Outcome.passed(f"{memo.workload} stays paused")
        async for _ in looks(context):
            live = await self.there(memo.workload)
            if not spec_of(live).get("paused"):
                who = who_set(live, _PAUSED, memo.planned_at)
                return Outcome.failed(f"overridden: {who} resumed {memo.workload}")
            if _is_observed(Workload(memo.workload, live)):
                seen_at = min(seen_at, time.monotonic())
            if time.monotonic() - seen_at >= settle:
                return Outcome.passed(
                    f"{memo.workload} is paused: a new template waits until it is resumed"
                )
        return Outcome.failed(f"the controller of {memo.workload} has not seen the pause yet")

    async def put_back(self, context: Context, plan: Plan, live: Object) -> bool:
        memo = _Memo.model_validate(plan.memo)
        check_same(memo.workload, live, memo.uid)
        if not spec_of(live).get("paused"):
            return False  # whether the field is absent or false, it is as before
        try:
            back = [memo.field.reversed]
            is_resumed = await compare_and_set(self.api, memo.workload, back, uid=memo.uid)
        except ChangedMeanwhile as error:
            raise Denied(str(error)) from None
        await self.let_go(context, memo.workload, _PAUSED)
        return is_resumed


def _is_observed(workload: Workload) -> bool:
    """Whether the controller has seen the pause."""
    if workload.ref.kind == ROLLOUT:
        return argo.is_observed(workload.live, workload.live)
    return rollout.is_observed(workload.live)
