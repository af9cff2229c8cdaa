"""From a trigger's value to an outcome: run; or plan, apply, verify and undo."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncGenerator, Awaitable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from keptn_remedy.action import (
    JSON,
    Action,
    AnyAction,
    Context,
    Denied,
    Outcome,
    PermanentError,
    Plan,
    PlannedAction,
)
from keptn_remedy.engine.admission import Admission, Told
from keptn_remedy.engine.attempts import Attempts, may_be_repeated
from keptn_remedy.engine.cancellation import Cancellation, Cancelled
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.undo.compensation import Compensation
from keptn_remedy.guardrails.guard import Asking
from keptn_remedy.journal import Arm, Ending, Execution, UndoAtOnce
from keptn_remedy.registry import Entry
from keptn_remedy.remediation.earlier_rounds import has_earlier_round, without_leftovers

# An execution that brought down this many processes must not bring down the next one.
MAX_RUNS = 10
_INTERRUPTED = "interrupted by a restart, and not safe to repeat"


class Steps:
    """The steps of one execution in this process. `plan` is the admitted one: it may be applied."""

    __slots__ = (
        "_action",
        "_admission",
        "_at_hand",
        "_entry",
        "_failure",
        "_giving_up",
        "_leftovers",
        "_means",
        "_undo",
        "attempts",
        "execution",
        "is_admitted",
        "plan",
        "task",
        "waits_for",
    )

    def __init__(
        self, means: Runtime, execution: Execution, entry: Entry, action: AnyAction
    ) -> None:
        self.attempts = Attempts(means, execution, action)
        self.plan = execution.plan
        # Whether the change that began it admitted it, see `asking`.
        self.is_admitted = False
        self._at_hand: Any = None
        # What takes them, from when on they may be stopped.
        self.task: asyncio.Task[Any] | None = None
        # The targets that are not held yet.
        self.waits_for: Collection[str] = ()
        is_same = action.is_same if isinstance(action, PlannedAction) else operator.eq
        self._admission = Admission(means, execution, is_same)
        self._means = means
        self.execution = execution
        self._entry = entry
        self._action = action
        self._failure = execution.failure
        self._leftovers: tuple[str, ...] = ()
        self._giving_up = Cancellation()
        self._undo: Compensation | None = None

    @property
    def reason(self) -> str | None:
        """Why it is given up, once it is."""
        return self._giving_up.reason

    def asking(self) -> Asking | None:
        """What may admit a plain action in the very change that begins it; None where something has
        to be waited for or looked up before, or it will not be run.
        """
        execution, means = self.execution, self._means
        is_new = not (execution.runs or execution.question)
        if not (is_new and isinstance(self._action, Action)) or self._hopeless():
            return None
        if means.value_of or has_earlier_round(execution.trigger):
            return None
        try:
            self._at_hand = self._validated(execution.trigger.value)
        except Exception:  # noqa: BLE001  an author's code may fail in any way: told in its turn
            return None
        return means.guard.asking(execution)

    async def ended(self) -> Ending:
        """Carry it out, whatever the author's code does.

        Raises only CancelledError, when the execution is to be taken up later.
        """
        try:
            outcome: object = self._hopeless() or await self._carrying_out()
        except Told as told:
            return self._turned_away(told)
        except Denied as denied:
            refusal = self.attempts.explained(denied)
            return self._turned_away(self._admission.denied(refusal, self.plan))
        except asyncio.CancelledError:
            if self._giving_up.is_own_cancel():
                return await self._stopped(self.reason or "given up")
            if self.reason or self._admission.is_waiting or may_be_repeated(self._action):
                raise
            return self._told(Outcome.errored(_INTERRUPTED))
        except Exception as error:  # noqa: BLE001  an author's code may fail in any way
            outcome = self.attempts.explained(error)
        if self.reason:
            self._giving_up.is_own_cancel()  # the author's code took no notice of it
            return self._aborted(outcome)
        return self._told(outcome)

    def give_up(self, reason: str) -> None:
        """Stop as soon as that is safe."""
        if self.task:
            self._giving_up.begin(self.task, reason)

    def stop_waiting(self, holder: str) -> None:
        """Stop, since what holds a target ignores its deadline and won't let go of it."""
        reason = f"its target is held by execution {holder}, which ignores its deadline"
        if self.task:
            self._giving_up.begin(self.task, reason, is_answered=True)

    async def _stopped(self, reason: str) -> Ending:
        if self._giving_up.is_answered:
            return self._told(Outcome.errored(f"{reason}{self.perhaps_applied}"))
        return await self.given_up(reason)

    @property
    def perhaps_applied(self) -> str:
        """What is said of a plan that was admitted."""
        return f"; perhaps applied: {self.plan}" if self.plan else ""

    async def given_up(self, reason: str) -> Ending:
        """As `ended`, for what Keptn had ended before this process came to it."""
        self._giving_up.reason = reason
        action, plan = self._action, self.plan
        if not isinstance(action, PlannedAction) or not plan:
            return self._aborted(self._without_effect())
        targets = self._means.targets
        async with targets.hold(plan.targets, self.execution.id, targets.moment()):
            return self._aborted(await self._own_undo().after_abort(action, plan, self._failure))

    def _aborted(self, outcome: object) -> Ending:
        presentable = self._presentable(outcome)
        return Ending(presentable, arm=self._arm(), is_aborted=True, undo=self._undone)

    def _without_effect(self) -> Outcome:
        if isinstance(self._action, PlannedAction):
            return Outcome.errored(f"{self.reason}; nothing had been applied")
        return Outcome.errored(f"{self.reason}; what it had done is not known")

    def _carrying_out(self) -> Awaitable[Outcome]:
        if isinstance(self._action, PlannedAction):
            return self._planned(self._action)
        return self._run(self._action)

    def _turned_away(self, told: Told) -> Ending:
        if self.reason:
            return self._aborted(told.outcome)
        presentable = self._means.presentable(told.outcome)
        return Ending(presentable, told.is_failure, undo=self._undone)

    def _told(self, returned: object) -> Ending:
        outcome = self._presentable(returned)
        if outcome.is_failure:
            told = self._softened(outcome)
            return Ending(told, is_failure=True, arm=self._arm(), undo=self._undone)
        return Ending(outcome, arm=self._arm())

    def _own_undo(self) -> Compensation:
        """Made when it is due: of thousands in flight hardly one has to be undone."""
        if self._undo is None:
            self._undo = Compensation(self._means, self.execution, self.attempts, self._giving_up)
        return self._undo

    @property
    def _undone(self) -> UndoAtOnce | None:
        return self._undo.ended if self._undo else None

    def _arm(self) -> Arm | None:
        if self._undone or not self.plan:
            return None
        return self._means.guard.arming(self.execution, self.plan)

    def _presentable(self, returned: object) -> Outcome:
        """What was returned, and who approved it."""
        outcome = self._means.presentable(returned)
        if approval := self._admission.approval:
            return replace(outcome, details={**outcome.details, **approval})
        return outcome

    def _softened(self, failure: Outcome) -> Outcome:
        if self._means.guard.told_as(self.execution, self.plan, "on_failed") == "fail":
            return failure
        message = f"{failure.message}; told as a warning, the sequence goes on"
        return replace(failure, status="succeeded", result="warning", message=message)

    def _hopeless(self) -> Outcome | None:
        runs, action = self.execution.runs, self._action
        if self.execution.unreadable:
            return Outcome.errored(f"the journal's entry is broken: {self.execution.unreadable}")
        if isinstance(action, Action) and self._means.dry_run:
            return Outcome.warned(f"dry run: {action.name} would have been run")
        if runs and not may_be_repeated(action):
            return Outcome.errored(_INTERRUPTED)
        if runs >= MAX_RUNS:
            planned = f"; perhaps applied: {self.execution.plan}" if self.execution.plan else ""
            return Outcome.errored(f"given up: {runs} runs of it ended with a restart{planned}")
        return None

    async def _run(self, action: Action) -> Outcome:
        value = self._at_hand if self.is_admitted else await self._value()
        if self.execution.runs and (
            refusal := await self._means.guard.still_allowed(self.execution, None)
        ):
            raise self._admission.refused(refusal, None)
        while not self.is_admitted:
            await self._admission.answered()
            verdict = await self._admission.verdict(None)
            if verdict is None:
                break
            await self._admission.heed(verdict, None)
        self.attempts.start_deadline()
        done = await self.attempts.until_done(action.run, value)
        return _with_notes(self._means.presentable(done), self._leftovers)

    async def _planned(self, action: PlannedAction) -> Outcome:
        if self._means.dry_run and self.plan:
            was = f"dry run, but an earlier run may have applied in part: {self.plan}"
            return Outcome.errored(was)
        is_by_earlier_process = self.plan is not None
        async with self._admitted(action) as plan:
            try:
                if is_by_earlier_process and not self._failure:
                    await self._check_again(action, plan)
                outcome = await self._carried_out(action, plan)
            except Cancelled:
                pass
            except asyncio.CancelledError:
                if not self._giving_up.is_own_cancel():
                    raise
            else:
                if not self.reason:
                    return outcome
            # The targets are still held: nobody acts before they are put back.
            return await self._own_undo().after_abort(action, plan, self._failure)

    async def _carried_out(self, action: PlannedAction, plan: Plan) -> Outcome:
        if self._failure:
            return await self._own_undo().after(self._failure, action, plan)
        outcome = await self._applied(action, plan)
        if outcome.is_failure and action.undo_on_failed_verification:
            await self._keep_failure(outcome)
            return await self._own_undo().after(outcome, action, plan)
        return _with_notes(outcome, (*plan.notes, *self._leftovers))

    async def _check_again(self, action: PlannedAction, plan: Plan) -> None:
        """A plan may be old by now, and what was allowed then may not be any more."""
        if refusal := await self._means.guard.still_allowed(self.execution, plan):
            told = self._admission.refused(refusal, plan)
            await self._keep_failure(told.outcome)
            raise Told(await self._own_undo().after(told.outcome, action, plan), is_failure=True)

    @asynccontextmanager
    async def _admitted(self, action: PlannedAction) -> AsyncGenerator[Plan]:
        """The plan, admitted and journaled, with its targets held: the stored one, or a new one."""
        targets = self._means.targets
        if stored := self.plan:
            async with self._holding(stored.targets, targets.moment()):
                yield stored
            return
        value = await self._value()
        while True:
            await self._admission.answered()
            self.attempts.start_deadline()
            since = targets.moment()
            plan = await self._plan(action, value)
            async with self._holding(plan.targets, since) as is_stale:
                if is_stale:
                    # Others changed the targets while we planned or waited.
                    self.attempts.start_deadline()
                    held, plan = plan.targets, await self._plan(action, value)
                    if not plan.targets <= held:
                        continue
                verdict = await self._admission.verdict(plan)
                if verdict is None:
                    self.plan = plan
                    yield plan
                    return
            await self._admission.heed(verdict, plan)

    @asynccontextmanager
    async def _holding(self, targets: frozenset[str], since: int) -> AsyncGenerator[bool]:
        self.waits_for = targets
        async with self._means.targets.hold(targets, self.execution.id, since) as is_stale:
            self.waits_for = ()
            yield is_stale

    async def _value(self) -> Any:
        sent, self._leftovers = await self._sent()
        return self._validated(sent)

    def _validated(self, sent: Any) -> Any:
        try:
            return self._entry.value.validate_python({} if sent is None else sent)
        except ValidationError as error:
            raise PermanentError(_mistakes(error)) from None

    async def _sent(self) -> tuple[Any, tuple[str, ...]]:
        """The value meant for this round, and what is told of leftovers in the event's."""
        means, trigger = self._means, self.execution.trigger
        if value_of := means.value_of:

            async def fetched(_: Context) -> JSON:
                return await value_of(trigger)

            return await self.attempts.until_done(fetched), ()
        if not has_earlier_round(trigger):
            return trigger.value, ()
        return await means.insist(
            lambda: without_leftovers(trigger, self._entry, means.journal.trigger)
        )

    async def _plan(self, action: PlannedAction, value: Any) -> Plan:
        return await self.attempts.until_done(action.plan, value)

    async def _applied(self, action: PlannedAction, plan: Plan) -> Outcome:
        try:
            with self._giving_up.shielded():
                await self.attempts.until_done(action.apply, plan)
            verdict = await self.attempts.until_done(action.verify, plan, seconds=action.deadline)
            return self._means.presentable(verdict)
        except Exception as error:  # noqa: BLE001  what was applied in part must be undone
            return self._means.presentable(self.attempts.explained(error))

    async def _keep_failure(self, failure: Outcome) -> None:
        journal = self._means.journal
        self._failure = failure
        await self._means.insist(lambda: journal.keep_failure(self.execution, failure))


def _with_notes(outcome: Outcome, notes: Sequence[str]) -> Outcome:
    if outcome.result != "pass" or not notes:
        return outcome
    return replace(outcome, result="warning", message=f"{outcome.message} ({'; '.join(notes)})")


def _mistakes(error: ValidationError) -> str:
    mistakes = error.errors(include_url=False, include_input=False)
    told = [
        f"{'.'.join(('value', *map(str, m['loc'])))}: {m['msg'].removeprefix('Value error, ')}"
        for m in mistakes[:5]
    ]
    return "; ".join(told)
