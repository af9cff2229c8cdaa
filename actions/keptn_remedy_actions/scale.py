"""scale: sets the number of replicas of a workload, or the bounds of its autoscaler."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator

from keptn_remedy import Change, Context, Denied, Outcome, PermanentError, Plan
from keptn_remedy_actions.cluster import (
    HPA,
    Object,
    Ref,
    Workload,
    are,
    budgets,
    counted,
    kube_events,
    meta_of,
    obstacles,
    owners,
    replicas,
    stateful,
    trouble,
)
from keptn_remedy_actions.cluster.action import ClusterAction, Target, check_same, looks
from keptn_remedy_actions.cluster.api import rfc3339
from keptn_remedy_actions.cluster.autoscalers import Lever, direct, find_lever
from keptn_remedy_actions.cluster.compare_and_set import (
    ChangedMeanwhile,
    Field,
    compare_and_set,
    foreseen,
)
from keptn_remedy_actions.cluster.managers import who_set
from keptn_remedy_actions.cluster.quantity import (
    Limits,
    Quantity,
)
from keptn_remedy_actions.cluster.replicas import Replicas
from keptn_remedy_actions.cluster.scale_value import ScaleValue, as_object
from keptn_remedy_actions.cluster.standstill import Standstill
from keptn_remedy_actions.cluster.targets import resolve

# The names under which a bare number is added.
ADDING = ("scaling", "increment")


class _Memo(Target):
    """The plan's memo: which fields of which object are set for which workload.

    `ordered` are the desired replicas before, `wanted` those after the plan.
    """

    holder: Ref
    subresource: str
    fields: list[Field]
    ordered: int
    wanted: int
    contested: bool
    planned_at: str
    holder_uid: str = ""
    missing: int = 0
    """How many of the desired replicas were not ready at planning."""
    ready: int | None = None
    """How many were; older plans lack it."""

    @property
    def ready_before(self) -> int:
        return self.ordered if self.ready is None else self.ready

    @property
    def is_fewer(self) -> bool:
        return self.wanted < self.ordered


class Scale(ClusterAction):
    """Set the number of replicas of a workload, also under a HorizontalPodAutoscaler or KEDA."""

    name = "scale"
    aliases = ("scaling", "scale-replicas", "increment")
    deadline = 600.0  # new nodes for it take minutes

    Value: ClassVar[Any] = Annotated[
        ScaleValue, BeforeValidator(as_object, json_schema_input_type=int | str | ScaleValue)
    ]

    async def plan(self, context: Context, value: ScaleValue) -> Plan:
        workload = await resolve(
            self.api, self.settings, context, value, replicas.SCALABLE, or_any_scalable=True
        )
        scale = await self.api.get(workload.ref, "scale")
        lever = await find_lever(self.api, workload, scale)
        wanted, notes = self._sized(context, value, lever.ordered)
        if wanted == 0 and lever.ref.kind.resource == HPA.resource:  # an HPA can't go below 1
            lever = direct(workload, scale)
        if wanted != lever.ordered:
            await self._check_possible(workload, lever, wanted)
            wanted, changed = await self._admitted(lever, wanted)
            notes = (*notes, *changed)
        before = await replicas.counted(self.api, workload, scale)
        if wanted == lever.ordered:
            notes = notes or (f"it already has {counted(wanted, 'replica')}",)
            memo = _memo(workload, lever, [], wanted, before, self.api.now())
            return Plan((), (*notes, *value.notes), memo)
        fields = lever.fields(wanted)
        changes = tuple(_change(workload.ref, lever.ref, field) for field in fields)
        pointers = [field.pointer for field in fields]
        notes = (*notes, *self.ownership_notes(lever.ref, lever.live, *pointers))
        memo = _memo(workload, lever, fields, wanted, before, self.api.now())
        return Plan(changes, (*notes, *value.notes), memo, replicas=(lever.ordered, wanted))

    async def apply(self, context: Context, plan: Plan) -> None:
        memo = _Memo.model_validate(plan.memo)
        if not memo.fields:
            return
        live = await self.api.get(memo.workload)
        obstacles.check_stays(memo.workload, live)
        await compare_and_set(self.api, memo.holder, memo.fields, memo.subresource)
        if self.settings.release_fields:
            await self.let_go(context, memo.holder, *(each.pointer for each in memo.fields))
        await kube_events.record(self.api, context, memo.workload, live, "RemedyScaled", str(plan))

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = _Memo.model_validate(plan.memo)
        if not memo.fields:
            seen = await replicas.look(self.api, memo.workload)
            kept = f"{memo.workload} keeps its {counted(memo.wanted, 'replica')}"
            return Outcome.passed(f"{kept}, {seen.ready} of them ready")
        settle = self.settings.settle(contested=memo.contested)
        there_since: float | None = None
        ready = memo.ready_before
        standstill = Standstill(self.api, memo.workload, since=memo.planned_at)
        async for _ in looks(context):
            seen = await replicas.look(self.api, memo.workload)
            obstacles.check_stays(memo.workload, seen.live)
            if by := await self._overridden(memo, seen.live):
                return Outcome.failed(by)
            if not seen.are(memo.wanted, fewer=memo.is_fewer, missing=memo.missing):
                there_since = None
                if not memo.is_fewer and await standstill.is_refused(seen.live):
                    break
                continue
            if (now_ready := min(seen.ready, memo.wanted)) != ready:
                ready, there_since = now_ready, None  # more of the missing ones may be coming
            there_since = there_since or time.monotonic()
            if time.monotonic() - there_since >= settle:
                return _reached(memo, seen)
        return await self._not_reached(memo)

    async def put_back(self, context: Context, plan: Plan, live: Object) -> bool:
        memo = _Memo.model_validate(plan.memo)
        holder = live if memo.holder == memo.workload else await self.there(memo.holder)
        check_same(memo.holder, holder, memo.holder_uid)
        back = [field.reversed for field in memo.fields]
        try:
            is_put_back = await compare_and_set(
                self.api, memo.holder, back, memo.subresource, uid=memo.holder_uid
            )
        except ChangedMeanwhile as error:
            raise Denied(_why_left(memo, holder, error)) from None
        await self.let_go(context, memo.holder, *(each.pointer for each in memo.fields))
        return is_put_back

    async def _check_possible(self, workload: Workload, lever: Lever, wanted: int) -> None:
        """Refuse a number that the workload or its autoscaler would not come to.

        Raises:
            Denied: says what is in the way.
        """
        if lever.high and lever.least <= wanted < lever.ordered:
            raise Denied(
                f"{lever.ref} chose {counted(lever.ordered, 'replica')} (its minimum is"
                f" {lever.least}) and would revert {wanted}; change the autoscaler instead"
            )
        obstacles.check_can_act(workload.ref, workload.live)
        if wanted > lever.ordered:
            obstacles.check_makes_pods(workload.ref, workload.live)
        else:
            await budgets.check_leaves_enough(self.api, workload, wanted)
        if pod := await stateful.blocked_by(self.api, workload, wanted):
            raise Denied(
                f"pod {pod} is not ready, and until it is, {workload.ref} neither makes nor removes"
                " another pod (podManagementPolicy OrderedReady)"
            )

    async def _admitted(self, lever: Lever, wanted: int) -> tuple[int, tuple[str, ...]]:
        """The number that the cluster's admission makes of the wanted one, and a note about it.

        Raises:
            PermanentError: the change would be refused.
            Denied: admission would make something else of it than fewer steps on the same way.
        """
        fields = lever.fields(wanted)
        seen = await foreseen(self.api, lever.ref, fields, lever.subresource)
        if seen == [field.after for field in fields]:
            return wanted, ()
        got = int(seen[0] or 0)
        is_on_the_way = min(lever.ordered, wanted) <= got <= max(lever.ordered, wanted)
        if not is_on_the_way or len(fields) > 1:
            shown = ", ".join(f"{f.name} {_shown(v)}" for f, v in zip(fields, seen, strict=True))
            raise Denied(
                f"the cluster's admission would not set {counted(wanted, 'replica')}, but leave"
                f" {shown} in {lever.ref}"
            )
        asked = counted(wanted, "replica")
        return got, (f"asked for {asked}, but the cluster's admission makes it {got}",)

    def _sized(
        self, context: Context, value: ScaleValue, ordered: int
    ) -> tuple[int, tuple[str, ...]]:
        """The number of replicas to set, and how `value` was restricted."""
        quantity: Quantity = value.replicas
        # Keptn's helm-service adds the number of its `scaling` action (docs/keptn.md#k39).
        bare_adds = self.own_spelling(context.trigger.action) in ADDING
        asked = quantity.of(ordered, bare_adds=bare_adds)
        if asked == ordered:
            return ordered, ()
        if quantity.is_zero(bare_adds=bare_adds) and not self.settings.allow_zero:
            raise Denied("scaling to 0 is not allowed; to allow it, set KUBERNETES_ALLOW_ZERO")
        limits = self._limits(value)
        wanted = limits.clamped(asked, ordered)
        if wanted == asked:
            return wanted, ()
        by = limits.most_by if asked > limits.most else limits.least_by
        left = "left at" if wanted == ordered else "set to"
        return wanted, (f"asked for {counted(asked, 'replica')}, but {by}: {left} {wanted}",)

    def _limits(self, value: ScaleValue) -> Limits:
        settings = self.settings
        least, least_by = (1, "0 needs KUBERNETES_ALLOW_ZERO")
        if settings.allow_zero:
            least, least_by = 0, "there can't be fewer than 0"
        if value.min is not None and value.min > least:
            least, least_by = value.min, f"min is {value.min}"
        most, most_by = settings.max_replicas, f"KUBERNETES_MAX_REPLICAS is {settings.max_replicas}"
        if least > most:
            raise PermanentError(f"{least_by}, but {most_by}")
        if value.max is not None and value.max < most:
            most, most_by = value.max, f"max is {value.max}"
        return Limits(least, most, least_by, most_by)

    async def _overridden(self, memo: _Memo, live: Object) -> str | None:
        """Who set another value since; None if nobody did."""
        holder = await self.api.get(memo.holder, memo.subresource)
        for field in memo.fields:
            if (seen := field.seen_in(holder)) != field.after:
                full = live if memo.subresource else holder
                who = who_set(full, field.pointer, memo.planned_at)
                return f"{who} set {field.name} of {memo.holder} to {seen}"
        return None

    async def _not_reached(self, memo: _Memo) -> Outcome:
        """A failure, but a warning if some new replicas are ready: an undo would remove those."""
        seen = await replicas.look(self.api, memo.workload)
        workload = Workload(memo.workload, seen.live)
        why = await trouble.reasons(self.api, workload, labels=seen.selector, since=memo.planned_at)
        message = (
            f"{memo.workload}: {counted(seen.ready, 'replica')} {are(seen.ready)} ready,"
            f" {memo.wanted} {are(memo.wanted)} wanted"
        )
        message = f"{message}: {why}" if why else message
        is_partly = memo.ready_before < seen.ready < memo.wanted
        return Outcome.warned(message) if is_partly else Outcome.failed(message)


def _reached(memo: _Memo, seen: Replicas) -> Outcome:
    """The outcome once the effect holds; an autoscaler may set more replicas than its minimum."""
    steps = f"{memo.workload}: replicas {memo.ordered} -> {seen.ordered}"
    if seen.ready < memo.wanted:
        return Outcome.warned(
            f"{steps}, {seen.ready} of {seen.ordered} ready, {memo.ready_before} were before"
        )
    if seen.ordered == memo.wanted:
        return Outcome.passed(f"{steps}, all ready")
    if not memo.is_fewer:
        return Outcome.passed(f"{steps}, at least {memo.wanted} {are(memo.wanted)} ready")
    return Outcome.warned(
        f"{memo.holder} may now scale {memo.workload} down to {counted(memo.wanted, 'replica')};"
        f" so far it keeps {seen.ordered}"
    )


def _why_left(memo: _Memo, holder: Object, found: ChangedMeanwhile) -> str:
    field = found.field
    who = who_set(holder, field.pointer, memo.planned_at)
    return (
        f"{field.name} of {memo.holder} is {_shown(found.seen)}, and {_shown(field.before)} was"
        f" expected: {who} changed it since, so it is left alone"
    )


def _shown(number: Any) -> str:
    return "unset" if number is None else str(number)


def _memo(
    workload: Workload,
    lever: Lever,
    fields: list[Field],
    wanted: int,
    before: Replicas,
    now: datetime,
) -> dict[str, Any]:
    memo = _Memo(
        workload=workload.ref,
        holder=lever.ref,
        subresource=lever.subresource,
        fields=fields,
        ordered=lever.ordered,
        wanted=wanted,
        contested=lever.ref != workload.ref or owners.reverts(workload.live),
        planned_at=rfc3339(now),
        uid=meta_of(workload.live).get("uid", ""),
        holder_uid=lever.uid,
        missing=before.missing,
        ready=before.ready,
    )
    return memo.model_dump(mode="json")


def _change(workload: Ref, holder: Ref, field: Field) -> Change:
    """A change of the workload, whichever object holds the field: the workload must be locked."""
    where = (
        field.name if holder == workload else f"{field.name} of {holder.kind.name} {holder.name}"
    )
    return Change(workload.target, where, field.before, field.after)
