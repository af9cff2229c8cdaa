"""A planned execution: its plan is admitted, applied, verified, and undone if need be."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace

from keptn_remedy.action import Outcome, Plan, PlannedAction
from keptn_remedy.engine.admission import NotAdmitted
from keptn_remedy.engine.cancellation import LEAVING, Interrupted
from keptn_remedy.engine.declared import undoes_failures
from keptn_remedy.engine.execution import UNTOUCHED, Taken, with_notes
from keptn_remedy.engine.plans import checked_plan
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.still_wanted import StillWanted
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.threads import NotBegun
from keptn_remedy.engine.undo.compensation import Compensation
from keptn_remedy.engine.value import Values
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.journal import Ending, Execution
from keptn_remedy.registry import Entry


class PlannedExecution(Taken[PlannedAction]):
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
            return Outcome.errored(f"{self._cancellation.reason}{UNTOUCHED}")
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
        return self._runtime.presentable(with_notes(outcome, notes), task) if notes else outcome

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
            self._waits_for = targets = plan.targets
            # Of the first run nothing is taken back.
            if self.execution.runs and locks.is_any_taken(targets, self.execution.id):
                await self._admission.note_waiting()
            async with locks.hold(targets, self.execution.id, since) as is_stale:
                self._waits_for = ()
                if is_stale:
                    # Others changed the targets while we planned or waited.
                    self._attempts.start_deadline()
                    again = await self._attempts.until_done(self._action.plan, value)
                    plan = checked_plan(again)
                    if not plan.targets <= targets:
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

    def _with_undo(self, ending: Ending, *, is_left: bool) -> Ending:
        undo = self._compensation.ended if self._compensation else None
        arm = None
        if is_left and not undo and self._plan:
            arm = self._guard.arming(self.execution, self._plan)
        return replace(ending, undo=undo, arm=arm)
