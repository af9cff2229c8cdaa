"""One execution in this process, from the trigger's value to how it ended."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Collection, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from operator import eq
from typing import Any, Generic, TypeVar

from keptn_remedy.action import Action, AnyAction, Denied, Later, Outcome, Plan, PlannedAction
from keptn_remedy.engine.admission import Admission, NotAdmitted
from keptn_remedy.engine.attempts import (
    CANCELLED_FROM_WITHIN,
    Attempts,
    may_be_repeated,
    undoes_failures,
)
from keptn_remedy.engine.cancellation import LEAVING, Cancellation, Interrupted
from keptn_remedy.engine.crew import cancelled_from_within
from keptn_remedy.engine.plans import checked_plan
from keptn_remedy.engine.runtime import Runtime, checked
from keptn_remedy.engine.still_wanted import StillWanted
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.threads import NotBegun
from keptn_remedy.engine.undo.compensation import Compensation
from keptn_remedy.engine.value import Values
from keptn_remedy.engine.waiting_room import Rest, WaitingRoom
from keptn_remedy.guardrails.guard import Guard, targets_of
from keptn_remedy.journal import Ending, Execution, NotOwner, TaskEnded
from keptn_remedy.registry import Entry

# An execution during which so many processes died may be what killed them.
MAX_RUNS = 10
LONGEST_REST_SECONDS = 30 * 86_400.0
_INTERRUPTED = "interrupted by a restart, and not safe to repeat"
_UNTOUCHED = "; nothing was done"

A = TypeVar("A", bound=AnyAction)


class RunningExecution(ABC):
    """An execution in the hands of this process."""

    __slots__ = ("_runtime", "execution")

    def __init__(self, execution: Execution, runtime: Runtime) -> None:
        self.execution = execution
        self._runtime = runtime

    @abstractmethod
    async def run(self, aborted: str | None) -> Ending:
        """Carry it out, or, if Keptn had `aborted` it before, see to what an earlier process left.

        Raises only CancelledError: the next process takes the execution up.
        """

    @property
    def attempts(self) -> int:
        """How many it has taken."""
        return 0

    @property
    def overdue_seconds(self) -> float:
        """For how long it has ignored that it was cut off; 0 while it is in time."""
        return 0.0

    @property
    def waits_for(self) -> Collection[str]:
        """The targets that it waits for."""
        return ()

    @abstractmethod
    def abort(self, reason: str) -> None:
        """Stop as soon as that is safe: Keptn has ended the task."""

    @abstractmethod
    def stop_waiting(self, holder: str) -> None:
        """Stop, since the execution `holder` holds a target, and ignores its deadline."""

    def abandoned(self, why: str) -> Ending:
        """Cut its code off once more, and wait for it no longer. Returns how the execution ends."""
        return Ending(self._runtime.presentable(Outcome.errored(why)), is_failure=True)


class NotTaken(RunningExecution):
    """An execution that can't be carried out. It runs no code, so there is nothing to stop."""

    __slots__ = ("_outcome",)

    def __init__(self, execution: Execution, runtime: Runtime, outcome: Outcome) -> None:
        super().__init__(execution, runtime)
        self._outcome = outcome

    async def run(self, aborted: str | None) -> Ending:
        plan = self.execution.plan
        left = f"; perhaps applied, and left: {plan}" if plan else ""
        ending = self._outcome
        if aborted:
            untouched = "" if plan or self.execution.runs else _UNTOUCHED
            ending = Outcome.errored(f"{aborted}{untouched}")
        outcome = self._runtime.presentable(replace(ending, message=f"{ending.message}{left}"))
        return Ending(outcome, is_failure=not aborted, is_aborted=aborted is not None)

    def abort(self, reason: str) -> None:
        """Nothing runs."""

    def stop_waiting(self, holder: str) -> None:
        """It waits for nothing."""


class _Taken(RunningExecution, Generic[A]):
    """What plain and planned executions have in common: everything but how they act."""

    _cancellation: Cancellation  # from `run` on

    __slots__ = (
        "_action",
        "_admission",
        "_attempts",
        "_cancellation",
        "_entry",
        "_guard",
        "_locks",
        "_may_have_acted",
        "_notes",
        "_values",
        "_waits_for",
    )

    def __init__(
        self,
        execution: Execution,
        entry: Entry,
        action: A,
        *,
        runtime: Runtime,
        guard: Guard,
        values: Values,
        waiting_room: WaitingRoom,
        still_wanted: StillWanted,
        locks: TargetLocks,
    ) -> None:
        super().__init__(execution, runtime)
        self._entry = entry
        self._action: A = action
        self._guard = guard
        self._values = values
        self._attempts = Attempts(runtime, execution, action)
        self._may_have_acted = execution.runs > 0
        is_same = action.is_same if isinstance(action, PlannedAction) else eq
        self._admission = Admission(
            execution,
            is_same,
            runtime=runtime,
            guard=guard,
            waiting_room=waiting_room,
            still_wanted=still_wanted,
        )
        self._notes: tuple[str, ...] = ()
        self._locks = locks
        self._waits_for: Collection[str] = ()

    @property
    def attempts(self) -> int:
        return self._attempts.count

    @property
    def waits_for(self) -> Collection[str]:
        return self._waits_for

    @property
    def overdue_seconds(self) -> float:
        return self._attempts.overdue_seconds

    def abort(self, reason: str) -> None:
        self._cancellation.request(reason)

    def stop_waiting(self, holder: str) -> None:
        reason = f"its target is held by execution {holder}, which ignores its deadline"
        self._cancellation.request(reason, is_reported=True)

    def abandoned(self, why: str) -> Ending:
        self._cancellation.cut_off()
        outcome = self._runtime.presentable(Outcome.errored(f"{why}{self._perhaps_applied}"))
        is_aborted = self._cancellation.reason is not None
        return Ending(outcome, is_failure=True, is_aborted=is_aborted)

    async def run(self, aborted: str | None) -> Ending:
        self._cancellation = Cancellation(asyncio.current_task(), aborted)
        if aborted:
            return await self._interrupted(None)
        try:
            try:
                hopeless = self._hopeless()
                outcome = self._runtime.presentable(hopeless) if hopeless else await self._act()
            except BaseException as error:
                self._cancellation.left(error)
                raise
            if self._cancellation.reason is not None:
                self._cancellation.left()
        except Interrupted as interrupted:
            return await self._interrupted(interrupted.outcome)
        except TaskEnded as ended:  # noticed before anything was applied
            return await self.run(ended.reason)
        except (NotAdmitted, NotBegun, Denied) as refusal:
            ending = self._not_admitted(self._refused(refusal))
            is_untouched = isinstance(refusal, NotBegun) and not self.execution.runs
            return replace(ending, is_untouched=is_untouched)
        except asyncio.CancelledError:
            if work := cancelled_from_within():
                await work.shake_off()
                return self._ended(Outcome.errored(CANCELLED_FROM_WITHIN))
            # The process leaves. Where nothing of the action has begun, or it may be repeated, the
            # next process takes the execution up.
            is_resumable = self._admission.is_waiting or may_be_repeated(self._action)
            if self._cancellation.reason or is_resumable:
                raise
            outcome = Outcome.errored(_INTERRUPTED)
        except (GeneratorExit, Rest, NotOwner):
            raise
        except BaseException as error:  # noqa: BLE001  an author's code may fail in any way
            outcome = self._runtime.presentable(self._attempts.explained(error))
        return self._ended(outcome)

    @abstractmethod
    async def _act(self) -> Outcome:
        """Find the value, be admitted, and act. What comes back is presentable."""

    @abstractmethod
    async def _after_abort(self) -> Outcome:
        """See to what may have been applied before the execution was aborted."""

    @property
    def _plan(self) -> Plan | None:
        """The admitted plan: from then on it may be applied."""
        return None

    @property
    def _perhaps_applied(self) -> str:
        return f"; perhaps applied: {self._plan}" if self._plan else ""

    def _refused(self, refusal: NotAdmitted | NotBegun | Denied) -> NotAdmitted:
        if isinstance(refusal, NotBegun):
            return self._admission.refused(refusal.refusal, self._plan)
        if isinstance(refusal, Denied):
            return self._admission.denied(self._attempts.explained(refusal), self._plan)
        return refusal

    def _ask_pause(self) -> None:
        """Raises NotBegun if a pause came since it was admitted."""
        if refusal := self._guard.paused():
            raise NotBegun(refusal)

    def _hopeless(self) -> Outcome | None:
        """Why it is not even tried, if so."""
        if self.execution.unreadable:
            return Outcome.errored(f"the journal's entry is broken: {self.execution.unreadable}")
        runs = self.execution.runs
        if runs and not may_be_repeated(self._action):
            return Outcome.errored(_INTERRUPTED)
        if runs >= MAX_RUNS:
            why = f"not tried again: it was begun {runs} times, and never came to its end"
            return Outcome.errored(f"{why}{self._perhaps_applied}")
        return None

    async def _interrupted(self, outcome: Outcome | None) -> Ending:
        if self._cancellation.is_reported:
            why = f"{self._cancellation.reason}{self._perhaps_applied}"
            return self._ended(self._runtime.presentable(Outcome.errored(why)))
        return self._aborted(outcome or await self._after_abort())

    def _aborted(self, outcome: Outcome) -> Ending:
        return Ending(self._with_approval(self._runtime.presentable(outcome)), is_aborted=True)

    def _not_admitted(self, refusal: NotAdmitted) -> Ending:
        return Ending(self._runtime.presentable(refusal.outcome), refusal.is_failure)

    def _ended(self, outcome: Outcome) -> Ending:
        outcome = self._with_approval(outcome)
        if outcome.is_failure:
            return Ending(self._softened(outcome), is_failure=True)
        return Ending(outcome)

    def _with_approval(self, outcome: Outcome) -> Outcome:
        """The outcome, and who approved it."""
        if approval := self._admission.approval:
            return replace(outcome, details={**outcome.details, **approval})
        return outcome

    def _softened(self, failure: Outcome) -> Outcome:
        if self._guard.reported_as(self.execution, self._plan, "on_failed") == "fail":
            return failure
        message = f"{failure.message}; reported as a warning, the sequence goes on"
        return replace(failure, status="succeeded", result="warning", message=message)


class PlainExecution(_Taken[Action]):
    """An action that plans nothing: it is admitted, and run."""

    __slots__ = ()

    def _hopeless(self) -> Outcome | None:
        if self._runtime.dry_run and not self.execution.unreadable:
            return Outcome.warned(f"dry run: {self._action.name} would have been run")
        return super()._hopeless()

    async def _act(self) -> Outcome:
        if self.execution.runs or self.execution.has_begun:
            await self._until_due()
        value, notes = await self._values.of(self.execution.trigger, self._entry, self._attempts)
        if self.execution.runs:
            await self._ask_again()
        if self.execution.question:
            await self._admission.until_answered()
        while objection := await self._admission.try_admit(None):
            await self._admission.wait_out(objection, None)
        try:
            if self.execution.trigger.is_request:
                async with self._service():
                    await self._ask_again()  # it may have waited long for the service
                    outcome = checked(await self._run_action(value))
            else:  # no context that does nothing: thousands would hold one
                outcome = checked(await self._run_action(value))
        except Later as later:
            raise await self._rest(later.seconds) from None
        outcome = _with_notes(outcome, notes)
        return self._runtime.presentable(outcome, self.execution.trigger.task)

    async def _ask_again(self) -> None:
        """Raises NotAdmitted if what was admitted is not allowed any more."""
        if refusal := await self._guard.still_allowed(self.execution, None):
            raise self._admission.refused(refusal, None)

    def _run_action(self, value: Any) -> Coroutine[Any, Any, Outcome]:
        """The run of the action, which begins once it is awaited."""
        self._attempts.start_deadline()
        self._may_have_acted = True
        # A coroutine of its own, or names for what only the call needs, would hold memory.
        run, may_begin = self._action.run, self._ask_pause
        return self._attempts.until_done(run, value, may_begin=may_begin)

    @asynccontextmanager
    async def _service(self) -> AsyncGenerator[None]:
        """Hold the service: each request has a lane of its own, and they would act side by side."""
        target = frozenset(targets_of(self.execution, None))
        self._waits_for = target
        async with self._locks.hold(target, self.execution.id, self._locks.moment):
            self._waits_for = ()
            yield

    async def _until_due(self) -> None:
        """Raises Rest while a timer of the execution runs."""
        journal, clock = self._runtime.journal, self._runtime.clock
        if timer := await self._runtime.insist(lambda: journal.timer(self.execution)):
            if (left := timer.due - clock.now()) > 0:
                raise await self._rest(left)
            self._attempts.note_waited(timer.due - timer.since)

    async def _rest(self, seconds: float) -> Rest:
        """Set the timer; what is to be raised then."""
        journal, clock = self._runtime.journal, self._runtime.clock
        seconds = min(max(seconds, 0.0), LONGEST_REST_SECONDS)
        await self._runtime.insist(lambda: journal.set_timer(self.execution, seconds))
        return Rest(clock.monotonic() + seconds)

    async def _after_abort(self) -> Outcome:
        what = "; what it had done is not known" if self._may_have_acted else _UNTOUCHED
        return Outcome.errored(f"{self._cancellation.reason}{what}")


class PlannedExecution(_Taken[PlannedAction]):
    """An action that plans: its plan is admitted and stored, applied, verified, and undone if need
    be, while its targets are locked.
    """

    __slots__ = ("_admitted_plan", "_compensation", "_failure")

    def __init__(
        self,
        execution: Execution,
        entry: Entry,
        action: PlannedAction,
        *,
        runtime: Runtime,
        guard: Guard,
        values: Values,
        waiting_room: WaitingRoom,
        still_wanted: StillWanted,
        locks: TargetLocks,
    ) -> None:
        super().__init__(
            execution,
            entry,
            action,
            runtime=runtime,
            guard=guard,
            values=values,
            waiting_room=waiting_room,
            still_wanted=still_wanted,
            locks=locks,
        )
        self._admitted_plan = execution.plan
        self._failure = execution.failure
        self._compensation: Compensation | None = None

    @property
    def _plan(self) -> Plan | None:
        return self._admitted_plan

    async def _act(self) -> Outcome:
        if self._runtime.dry_run and self._plan:
            was = f"dry run, but an earlier run may have applied in part: {self._plan}"
            return self._runtime.presentable(Outcome.errored(was))
        is_by_earlier_process = self._plan is not None
        async with self._admitted() as plan:
            act_on = self._carry_on if is_by_earlier_process else self._carry_out
            try:
                try:
                    outcome = await act_on(plan)
                except BaseException as error:
                    self._cancellation.left(error)
                    raise
                if self._cancellation.reason is not None:
                    self._cancellation.left()
            except Interrupted:
                # The targets are still locked: nobody acts on them before they are put back.
                reason = self._cancellation.reason
                undone = await self._compensate().after_abort(reason, plan, self._failure)
                raise Interrupted(undone) from None
            return outcome

    async def _after_abort(self) -> Outcome:
        if not (plan := self._plan):
            return Outcome.errored(f"{self._cancellation.reason}{_UNTOUCHED}")
        async with self._locks.hold(plan.targets, self.execution.id, self._locks.moment):
            reason = self._cancellation.reason
            return await self._compensate().after_abort(reason, plan, self._failure)

    async def _carry_out(self, plan: Plan) -> Outcome:
        task = self.execution.trigger.task
        if self._failure:
            # A refusal is kept as the rail put it, with numbers.
            failure = self._runtime.presentable(self._failure, task)
            return await self._compensate().after_failure(failure, plan)
        # Presentable already here: an outcome that can't be used is a failure too.
        outcome = self._runtime.presentable(await self._applied(plan), task)
        if outcome.is_failure and undoes_failures(self._action):
            await self._keep_failure(outcome)
            return await self._compensate().after_failure(outcome, plan)
        notes = (*plan.notes, *self._notes)
        return self._runtime.presentable(_with_notes(outcome, notes), task) if notes else outcome

    async def _applied(self, plan: Plan) -> object:
        action, attempts = self._action, self._attempts
        try:
            with self._cancellation.shielded():
                await attempts.until_done(action.apply, plan, may_begin=self._ask_pause)
            return await attempts.until_done(action.verify, plan, seconds=action.deadline)
        except LEAVING:
            raise
        except BaseException as error:  # noqa: BLE001  what was applied in part must be undone
            return attempts.explained(error)

    async def _carry_on(self, plan: Plan) -> Outcome:
        """A plan may be old by now, and what was allowed then may not be any more."""
        refusal = None
        if not self._failure:
            refusal = await self._guard.still_allowed(self.execution, plan)
        if not refusal:
            try:
                return await self._carry_out(plan)
            except NotBegun as stopped:
                refusal = stopped.refusal
        refused = self._admission.refused(refusal, plan)
        await self._keep_failure(refused.outcome)
        outcome = await self._compensate().after_failure(refused.outcome, plan)
        raise NotAdmitted(outcome, is_failure=True)

    async def _keep_failure(self, failure: Outcome) -> None:
        """Store it before the undo begins: a process that dies in between must not apply again."""
        journal = self._runtime.journal
        self._failure = failure
        await self._runtime.insist(lambda: journal.keep_failure(self.execution, failure))

    @asynccontextmanager
    async def _admitted(self) -> AsyncGenerator[Plan]:
        """The admitted plan, with its targets locked: the stored one, or a new one."""
        locks = self._locks
        if stored := self._plan:
            self._waits_for = stored.targets
            async with locks.hold(stored.targets, self.execution.id, locks.moment):
                self._waits_for = ()
                yield stored
            return
        value, self._notes = await self._values.of(
            self.execution.trigger, self._entry, self._attempts
        )
        if self.execution.question:
            await self._admission.until_answered()
        while True:
            self._attempts.start_deadline()
            since = locks.moment
            plan = checked_plan(await self._attempts.until_done(self._action.plan, value))
            self._waits_for = plan.targets
            async with locks.hold(plan.targets, self.execution.id, since) as is_stale:
                self._waits_for = ()
                if is_stale:
                    # Others changed the targets while we planned or waited.
                    self._attempts.start_deadline()
                    locked = plan.targets
                    again = await self._attempts.until_done(self._action.plan, value)
                    plan = checked_plan(again)
                    if not plan.targets <= locked:
                        continue
                objection = await self._admission.try_admit(plan)
                if objection is None:
                    self._admitted_plan = plan
                    yield plan
                    return
            await self._admission.wait_out(objection, plan)

    def _compensate(self) -> Compensation:
        """Made when it is due: of thousands under way hardly one has to be undone."""
        if self._compensation is None:
            self._compensation = Compensation(
                self.execution,
                self._action,
                self._attempts,
                self._cancellation,
                runtime=self._runtime,
                guard=self._guard,
            )
        return self._compensation

    def _aborted(self, outcome: Outcome) -> Ending:
        return self._with_undo(super()._aborted(outcome), is_left=True)

    def _not_admitted(self, refusal: NotAdmitted) -> Ending:
        return self._with_undo(super()._not_admitted(refusal), is_left=False)

    def _ended(self, outcome: Outcome) -> Ending:
        return self._with_undo(super()._ended(outcome), is_left=True)

    def _with_undo(self, ending: Ending, *, is_left: bool) -> Ending:
        """The ending with what became of an undo, or with when what was left is to be undone."""
        undo = self._compensation.ended if self._compensation else None
        arm = None
        if is_left and not undo and self._plan:
            arm = self._guard.arming(self.execution, self._plan)
        return replace(ending, undo=undo, arm=arm)


def _with_notes(outcome: Outcome, notes: Sequence[str]) -> Outcome:
    if outcome.result != "pass" or not notes:
        return outcome
    return replace(outcome, result="warning", message=f"{outcome.message} ({'; '.join(notes)})")
