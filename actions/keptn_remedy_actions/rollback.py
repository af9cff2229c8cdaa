"""rollback: returns a workload to the newest revision that was seen healthy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from keptn_remedy import Change, Context, Denied, Outcome, Plan, TemporaryError
from keptn_remedy_actions.cluster import (
    REPLICA_SET,
    ROLLOUT,
    STATEFUL_SET,
    Object,
    Ref,
    Workload,
    argo,
    known,
    kube_events,
    owners,
    rollout,
    stateful,
    trouble,
    uid_of,
)
from keptn_remedy_actions.cluster.action import ClusterAction, Target, looks
from keptn_remedy_actions.cluster.api import NotFound, rfc3339
from keptn_remedy_actions.cluster.history import History, read
from keptn_remedy_actions.cluster.known import Known
from keptn_remedy_actions.cluster.revisions import (
    Revision,
    choose,
    numbered,
    shared,
)
from keptn_remedy_actions.cluster.rollout import Progress
from keptn_remedy_actions.cluster.standstill import Standstill
from keptn_remedy_actions.cluster.swap import (
    AnotherTemplate,
    another,
    changed,
    check_admitted,
    check_holds,
    is_due,
    put,
    read_again,
)
from keptn_remedy_actions.cluster.targets import TargetValue, resolve

TEMPLATE = "/spec/template"
_Step = Literal["abort", "swap", "none"]


class RollbackValue(TargetValue):
    """The workload, and the revision to return to; by default the action chooses one."""

    revision: int | None = Field(default=None, ge=1)

    @field_validator("revision", mode="before")
    @classmethod
    def _number(cls, number: Any) -> Any:
        if number is True or number is False:
            raise ValueError("must be the number of a revision, such as 3")
        return number


class _Memo(Target):
    """The plan's memo: names of history objects, as their templates may hold secrets."""

    former: str
    wanted: str
    step: str
    by_abort: bool
    planned_at: str
    number: int = 0
    """The wanted revision's number at planning; once live, it has a new one. Old plans lack it."""
    available: int | None = None
    """How many pods were available at planning."""


class Rollback(ClusterAction):
    """Return a workload to the newest revision that was seen healthy."""

    name = "rollback"
    aliases = ("rollout-undo", "undo-rollout")
    undo_on_failed_verification = False
    deadline = 600.0

    Value: ClassVar[Any] = RollbackValue

    async def plan(self, context: Context, value: RollbackValue) -> Plan:
        workload = await resolve(self.api, self.settings, context, value)
        rollout.check_follows_its_template(workload, "a new template would have no effect")
        history = await read(self.api, workload, with_health=True)
        notes = (*owners.judge(self.settings, history.touched), *value.notes)
        live = _recorded(history)
        remembered = await known.recall(context, workload.ref, uid_of(workload.live))
        if value.revision is None:
            wanted = choose(history.revisions, live, remembered.bad, remembered.good)
        else:
            wanted = numbered(history.revisions, value.revision)
        if wanted.is_same_program(live):
            return Plan((), (f"{workload.ref} is already at {live}", *notes))
        memo = _memo(workload, live, wanted, self.api.now())
        if not memo.by_abort:
            await check_admitted(self.api, history, wanted)
            holder = history.holder
            notes = (*notes, *self.ownership_notes(holder.ref, holder.live, TEMPLATE))
        notes = (*notes, *rollout.partition_notes(workload))
        if rollout.is_empty(workload):
            notes = (
                *notes,
                f"{workload.ref} has no pods, so nothing shows whether {wanted} is available",
            )
        after = _described(wanted, shared(history.revisions, remembered.good))
        targets = [each.ref.target for each in history.touched]
        changes = tuple(Change(target, "template", str(live), after) for target in targets)
        return Plan(changes, notes, memo.model_dump(mode="json"))

    async def apply(self, context: Context, plan: Plan) -> None:
        if not plan.changes:
            return
        memo = _Memo.model_validate(plan.memo)
        go_back = partial(self._go_back, context, memo)
        history, _ = await changed(self.api, memo.workload, memo.uid, go_back)
        if self.settings.release_fields:
            await self.let_go(context, history.holder.ref, TEMPLATE)
        await self._record(context, history, "RemedyRolledBack", memo.step)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        if not plan.changes:
            return Outcome.warned("; ".join(plan.notes))
        memo = _Memo.model_validate(plan.memo)
        history, how = None, Progress("waiting")
        remembered = await known.recall(context, memo.workload, memo.uid)
        standstill = Standstill(self.api, memo.workload, since=memo.planned_at)
        async for _ in looks(context):
            try:
                history = await read_again(self.api, memo.workload, memo.uid)
                how = await self._look(memo, history, remembered)
            except AnotherTemplate as error:
                return Outcome.failed(f"overridden: {error}")
            workload = history.workload
            if how.state != "waiting" or await standstill.will_last(workload, memo.available):
                break
            await self._unblock(context, workload)
        if history and how.state == "complete":
            await self._note_good(context, memo, history)
            return Outcome.passed(f"{memo.workload}: {memo.step}{_renumbered(memo, history)}")
        why = await self._reasons(memo, history.workload) if history else ""
        if history and (kept := rollout.as_before(history.workload, memo.available, why)):
            return Outcome.warned(f"{memo.workload}: {memo.step}, {kept}")
        why = how.because(why)
        return Outcome.failed(f"{memo.workload} is not available after {memo.step}: {why}")

    async def put_back(self, context: Context, plan: Plan, live: Object) -> bool:
        memo = _Memo.model_validate(plan.memo)
        remembered = await known.recall(context, memo.workload, memo.uid)
        is_ours = remembered.begun == context.trigger.id
        go_forward = partial(self._go_forward, memo, remembered, is_ours=is_ours)
        try:
            history, is_put_back = await changed(self.api, memo.workload, memo.uid, go_forward)
        except AnotherTemplate as error:
            expected = memo.step.rpartition(" -> ")[2]
            raise Denied(f"{error}, and {expected} was expected: it is left alone") from None
        except NotFound as error:
            raise Denied(f"it is gone, or the object with its template is: {error}") from None
        remembered.forgive(memo.former, history.revisions)
        await known.keep(context, memo.workload, remembered, history.revisions)
        await self.let_go(context, history.holder.ref, TEMPLATE)
        return is_put_back

    async def _go_back(self, context: Context, memo: _Memo, history: History) -> None:
        remembered = await known.recall(context, memo.workload, memo.uid)
        if remembered.last == context.trigger.id:
            return  # done before a crash; `verify` reports who changed it since
        step = _next_step(memo, history, remembered)
        # Before the patch: however it ends, no later rollback returns to the bad revision.
        remembered.note_bad(memo.former, history.revisions)
        remembered.begun = context.trigger.id
        await known.keep(context, memo.workload, remembered, history.revisions)
        if step == "abort":
            await argo.set_abort(self.api, memo.workload, history.workload.live, abort=True)
        elif step == "swap":
            remembered.note_stored(*await put(self.api, history, memo.wanted))
        remembered.last = context.trigger.id
        await known.keep(context, memo.workload, remembered, history.revisions)

    async def _go_forward(
        self, memo: _Memo, remembered: Known, history: History, *, is_ours: bool
    ) -> bool:
        if _is_aborted(memo, history):
            await argo.set_abort(self.api, memo.workload, history.workload.live, abort=False)
            return True
        live = remembered.stored_as(history.template)
        if live == memo.former or (
            live != memo.wanted and not _is_as_left(memo, history, is_ours=is_ours)
        ):
            return False
        rollout.check_follows_its_template(history.workload, "its former template has no effect")
        if history.named(memo.former) is None:
            raise Denied(
                f"{memo.former}, which had the former template, is no longer in the history of"
                f" {memo.workload}: deploy the version that you want"
            )
        remembered.note_stored(*await put(self.api, history, memo.former))
        return True

    async def _look(self, memo: _Memo, history: History, remembered: Known) -> Progress:
        live, holder = history.workload.live, history.holder.live
        if _is_aborted(memo, history):
            stable = await self.api.get(Ref(REPLICA_SET, memo.workload.namespace, memo.wanted))
            return rollout.abort_progress(live, holder, stable)
        if remembered.stored_as(history.template) != memo.wanted:
            check_holds(history, memo.wanted, instead_of=memo.former, since=memo.planned_at)
        ours = history.live.name if history.live else memo.wanted
        return rollout.progress(history.workload, holder=holder, replica_set=ours)

    async def _unblock(self, context: Context, workload: Workload) -> None:
        if workload.ref.kind != STATEFUL_SET or not rollout.is_observed(workload.live):
            return
        if pod := await stateful.delete_stuck(self.api, workload):
            context.log.info("deleted a stuck pod that its StatefulSet waited for", pod=pod)

    async def _reasons(self, memo: _Memo, workload: Workload) -> str:
        pod = await stateful.obstacle(self.api, workload)
        why = await trouble.reasons(self.api, workload, since=memo.planned_at)
        return "; ".join(filter(None, (pod, why)))

    async def _note_good(self, context: Context, memo: _Memo, history: History) -> None:
        if not rollout.is_empty(history.workload):
            remembered = await known.recall(context, memo.workload, memo.uid)
            remembered.note_good(memo.wanted, history.revisions)
            await known.keep(context, memo.workload, remembered, history.revisions)

    async def _record(self, context: Context, history: History, reason: str, message: str) -> None:
        workload = history.workload
        await kube_events.record(self.api, context, workload.ref, workload.live, reason, message)


def _recorded(history: History) -> Revision:
    live = history.live
    if live is None or not history.is_observed:
        raise TemporaryError(
            f"the controller of {history.workload.ref} has not recorded its current template yet"
        )
    return live


def _described(wanted: Revision, seen_available: Mapping[str, str]) -> str:
    """The revision, and what is known of its health: one without pods shows none."""
    if wanted.health == "serving":
        return str(wanted)
    if when := seen_available.get(wanted.name):
        return f"{wanted}, seen available at {when}"
    return f"{wanted}, not known to have been available"


def _memo(workload: Workload, live: Revision, wanted: Revision, now: datetime) -> _Memo:
    return _Memo(
        workload=workload.ref,
        uid=uid_of(workload.live),
        former=live.name,
        wanted=wanted.name,
        step=f"{live} -> {wanted}",
        by_abort=(
            workload.ref.kind == ROLLOUT
            and argo.is_updating(workload.live)
            and argo.is_stable(workload.live, wanted.name)
        ),
        planned_at=rfc3339(now),
        number=wanted.number,
        available=rollout.available_of(workload),
    )


def _renumbered(memo: _Memo, history: History) -> str:
    """That the wanted revision has another number now, as it became live again."""
    live = history.live
    if not memo.number or live is None or live.number == memo.number:
        return ""
    return f", which is revision {live.number} now"


def _next_step(memo: _Memo, history: History, remembered: Known) -> _Step:
    """What is left to do.

    Raises:
        AnotherTemplate: the template is neither that of the plan nor the wanted one.
    """
    former, wanted, since = memo.former, memo.wanted, memo.planned_at
    if memo.by_abort and argo.is_updating(history.workload.live):
        check_holds(history, former, instead_of=wanted, since=since)
        return "abort"
    is_put = remembered.stored_as(history.template) == wanted
    if is_put or _is_aborted(memo, history):
        return "none"
    return "swap" if is_due(history, former=former, wanted=wanted, since=since) else "none"


def _is_as_left(memo: _Memo, history: History, *, is_ours: bool) -> bool:
    """Whether the template is the one that the rollback left; False if it is the one before.

    Raises:
        AnotherTemplate: it is neither, or was restarted since.
        TemporaryError: the controller has not recorded it yet.
    """
    if history.is_at(memo.former):
        return False
    # Aborting an update writes no template, unless there was nothing left to abort.
    by_us = not memo.by_abort or history.is_written_by_us
    if by_us and (history.is_at(memo.wanted) or (is_ours and history.grew_from(memo.wanted))):
        return True
    if history.runs(memo.former) or (is_ours and history.grew_from(memo.former)):
        return False
    if not history.is_observed:
        raise TemporaryError(
            f"the controller of {history.workload.ref} has not recorded its current template yet"
        )
    raise another(history, memo.wanted, since=memo.planned_at)


def _is_aborted(memo: _Memo, history: History) -> bool:
    """Whether the rollback aborted an update, and the update still is aborted."""
    live = history.workload.live
    is_former = history.live is not None and history.live.name == memo.former
    return memo.by_abort and is_former and argo.is_aborted(live)
