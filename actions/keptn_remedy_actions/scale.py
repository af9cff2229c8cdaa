"""scale: another number of replicas, through whatever decides about them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, BeforeValidator, model_validator
from pydantic import Field as Described

from keptn_remedy import Change, Context, Denied, Outcome, Plan
from keptn_remedy_actions.cluster import (
    HPA,
    Object,
    Ref,
    Workload,
    events,
    owners,
    replicas,
    trouble,
)
from keptn_remedy_actions.cluster.action import ClusterAction, looks
from keptn_remedy_actions.cluster.api import NotFound
from keptn_remedy_actions.cluster.autoscalers import Lever, direct, find_lever
from keptn_remedy_actions.cluster.compare_and_set import (
    ChangedMeanwhile,
    Field,
    compare_and_set,
)
from keptn_remedy_actions.cluster.managers import who_set
from keptn_remedy_actions.cluster.quantity import EXAMPLES, Limits, Wish, read_wish
from keptn_remedy_actions.cluster.targets import TargetValue, resolve


class ScaleValue(TargetValue):
    """How many, between which bounds, and of what."""

    replicas: Annotated[
        Any,
        BeforeValidator(read_wish, json_schema_input_type=int | float | str),
        Described(description=EXAMPLES),
    ]
    min: int | None = Described(default=None, ge=0)
    max: int | None = Described(default=None, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


def _as_object(sent: Any) -> Any:
    """A scalar says how many and nothing else."""
    if not isinstance(sent, dict):
        return {"replicas": sent}
    if "replicas" not in sent:
        raise ValueError(f"must say how many replicas: {EXAMPLES}")
    return sent  # pyright: ignore[reportUnknownVariableType]  # the model reads it


class _Memo(BaseModel):
    """What the plan keeps: which fields of what were to be set for which workload."""

    workload: Ref
    holder: Ref
    subresource: str
    fields: list[Field]
    ordered: int
    wanted: int
    contested: bool
    planned_at: str


class Scale(ClusterAction):
    """Set how many replicas a workload has, also under a HorizontalPodAutoscaler or KEDA."""

    name = "scale"
    aliases = ("scaling", "scale-replicas")

    Value: ClassVar[Any] = Annotated[
        ScaleValue, BeforeValidator(_as_object, json_schema_input_type=int | str | ScaleValue)
    ]

    async def plan(self, context: Context, value: ScaleValue) -> Plan:
        workload = await resolve(
            self.api, self.settings, context, value, replicas.SCALABLE, or_any_scalable=True
        )
        lever = await find_lever(self.api, workload, await self.api.get(workload.ref, "scale"))
        wanted, limits = self._sized(context, value, lever.ordered)
        notes = (*limits, *value.notes)
        if wanted == 0 and lever.ref.kind == HPA:  # which can't go below 1
            lever = direct(workload, lever.ordered)
        if wanted == lever.ordered:
            limits = limits or (f"it had {wanted} already",)
            return Plan((), (*limits, *value.notes), _memo(workload, lever, [], wanted))
        if lever.high and lever.least <= wanted < lever.ordered:
            raise Denied(
                f"{lever.ref} chose {lever.ordered} replicas, of {lever.least} at least:"
                f" {wanted} would be a fight against it"
            )
        fields = lever.fields(wanted)
        changes = [_change(workload.ref, lever.ref, field) for field in fields]
        return Plan(tuple(changes), notes, _memo(workload, lever, fields, wanted))

    async def apply(self, context: Context, plan: Plan) -> None:
        memo = _Memo.model_validate(plan.memo)
        if not memo.fields:
            return
        live = await self.api.get(memo.workload)
        await compare_and_set(self.api, memo.holder, memo.fields, memo.subresource)
        await events.tell(self.api, context, memo.workload, live, "RemedyScaled", str(plan))

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = _Memo.model_validate(plan.memo)
        if not memo.fields:
            return Outcome.passed(f"{memo.workload} keeps its {memo.wanted} replicas")
        settle = self.settings.settle(contested=memo.contested)
        there_since: float | None = None
        async for _ in looks(context):
            seen = await replicas.look(self.api, memo.workload)
            if by := await self._overridden(memo, seen.live):
                return Outcome.failed(by)
            if not seen.are(memo.wanted, fewer=memo.wanted < memo.ordered):
                there_since = None
                continue
            there_since = there_since or time.monotonic()
            if time.monotonic() - there_since >= settle:
                steps = f"replicas {memo.ordered} -> {memo.wanted}"
                return Outcome.passed(f"{memo.workload}: {steps}, all ready")
        return Outcome.failed(await self._shortage(memo))

    async def undo(self, context: Context, plan: Plan) -> str | None:
        memo = _Memo.model_validate(plan.memo)
        back = [field.reversed for field in memo.fields]
        try:
            if not await compare_and_set(self.api, memo.holder, back, memo.subresource):
                return "there was nothing to undo"
            live = await self.api.get(memo.workload)
        except ChangedMeanwhile as error:
            return f"not undone: {error}"
        except NotFound:
            return f"not undone: {memo.holder} is gone"
        reason = f"undone: {plan}"
        await events.tell(self.api, context, memo.workload, live, "RemedyUndone", reason)
        return None

    def _sized(
        self, context: Context, value: ScaleValue, ordered: int
    ) -> tuple[int, tuple[str, ...]]:
        """The replicas wanted, and what was restricted."""
        wish: Wish = value.replicas
        settings = self.settings
        bare_adds = _spelled(context.trigger.action) == "scaling"
        wished = wish.comes_to(ordered, bare_adds=bare_adds)
        if wished == ordered:
            return ordered, ()
        if wish.is_zero(bare_adds=bare_adds) and not settings.allow_zero:
            raise Denied("0 replicas are refused: KUBERNETES_ALLOW_ZERO is not set")
        fewest = max(value.min or 0, 0 if settings.allow_zero else 1)
        most = min(value.max or settings.max_replicas, settings.max_replicas)
        wanted = Limits(fewest, most).clamped(wished, ordered)
        if wanted == wished:
            return wanted, ()
        by = "KUBERNETES_MAX_REPLICAS" if most == settings.max_replicas else "max"
        limits = f"at least {fewest}, at most {most} ({by})"
        return wanted, (f"{wished} wished for, clamped to {wanted}: {limits}",)

    async def _overridden(self, memo: _Memo, live: Object) -> str | None:
        """Who set another value since, if somebody did."""
        holder = await self.api.get(memo.holder, memo.subresource)
        for field in memo.fields:
            if (seen := field.seen_in(holder)) != field.after:
                full = live if memo.subresource else holder
                who = who_set(full, field.pointer, memo.planned_at)
                return f"{who} set {field.name} of {memo.holder} to {seen}"
        return None

    async def _shortage(self, memo: _Memo) -> str:
        seen = await replicas.look(self.api, memo.workload)
        why = await trouble.reasons(self.api, Workload(memo.workload, seen.live))
        told = f"{memo.workload}: {seen.ready} replicas are ready, {memo.wanted} were to be"
        return f"{told}: {why}" if why else told


def _memo(workload: Workload, lever: Lever, fields: list[Field], wanted: int) -> dict[str, Any]:
    memo = _Memo(
        workload=workload.ref,
        holder=lever.ref,
        subresource=lever.subresource,
        fields=fields,
        ordered=lever.ordered,
        wanted=wanted,
        contested=lever.ref != workload.ref or owners.reverts(workload.live),
        planned_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    return memo.model_dump(mode="json")


def _change(workload: Ref, holder: Ref, field: Field) -> Change:
    """The workload is what is touched, through whatever object: nothing else may touch it now."""
    where = (
        field.name if holder == workload else f"{field.name} of {holder.kind.name} {holder.name}"
    )
    return Change(workload.target, where, field.before, field.after)


def _spelled(name: str) -> str:
    """An action's name as the registry compares it."""
    return name.strip().lower().replace("-", "").replace("_", "")
