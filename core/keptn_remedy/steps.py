"""From a trigger's value to an outcome: run; or plan, apply, verify and undo."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from keptn_remedy.action import (
    Action,
    AnyAction,
    Outcome,
    PermanentError,
    Plan,
    PlannedAction,
)
from keptn_remedy.attempts import Attempts, may_be_repeated
from keptn_remedy.journal import Execution
from keptn_remedy.means import Means
from keptn_remedy.registry import Entry

# An execution that brought down this many processes must not bring down the next one.
MAX_RUNS = 10
_INTERRUPTED = "interrupted by a restart, and not safe to repeat"


async def carry_out(means: Means, execution: Execution, entry: Entry | None) -> tuple[Outcome, int]:
    """The outcome, and how many attempts it took.

    Raises only CancelledError, when the execution is to be taken up later.
    """
    if entry is None or entry.action is None:
        gone = f"the action {execution.trigger.action} is not switched on any more"
        return means.presentable(Outcome.errored(gone)), 0
    steps = Steps(means, execution, entry, entry.action)
    return means.presentable(await steps.outcome()), steps.attempts.count


class Steps:
    """The steps of one execution in this process."""

    __slots__ = ("_action", "_entry", "_execution", "_means", "attempts")

    def __init__(self, means: Means, execution: Execution, entry: Entry, action: AnyAction) -> None:
        self.attempts = Attempts(means, execution, action)
        self._means = means
        self._execution = execution
        self._entry = entry
        self._action = action

    async def outcome(self) -> object:
        """Whatever the author returned, or what is to be told instead."""
        action = self._action
        if refusal := self._refused(action):
            return refusal
        try:
            return await self._carried_out(action, self._value())
        except asyncio.CancelledError:
            if may_be_repeated(action):
                raise
            return Outcome.errored(_INTERRUPTED)
        except Exception as error:  # noqa: BLE001  an author's code may fail in any way
            return self.attempts.explained(error)

    def _refused(self, action: AnyAction) -> Outcome | None:
        runs = self._execution.runs
        if self._execution.unreadable:
            return Outcome.errored(f"the journal's entry is broken: {self._execution.unreadable}")
        if isinstance(action, Action) and self._means.dry_run:
            return Outcome.warned(f"dry run: {action.name} would have been run")
        if runs and not may_be_repeated(action):
            return Outcome.errored(_INTERRUPTED)
        if runs >= MAX_RUNS:
            planned = f"; perhaps applied: {self._execution.plan}" if self._execution.plan else ""
            return Outcome.errored(f"given up: {runs} runs of it ended with a restart{planned}")
        return None

    def _carried_out(self, action: AnyAction, value: Any) -> Awaitable[Outcome]:
        if isinstance(action, PlannedAction):
            return self._planned(action, value)
        return self.attempts.until_done(lambda context: action.run(context, value))

    async def _planned(self, action: PlannedAction, value: Any) -> Outcome:
        if self._means.dry_run:
            return await self._dry_run(action, value)
        async with self._decided(action, value) as plan:
            if self._execution.failure:
                return await self._undone(action, plan, self._execution.failure)
            outcome = await self._applied(action, plan)
            if outcome.is_failure and action.undo_on_failed_verification:
                await self._means.insist(
                    lambda: self._means.journal.keep_failure(self._execution, outcome)
                )
                return await self._undone(action, plan, outcome)
        return _with_notes(outcome, plan)

    async def _dry_run(self, action: PlannedAction, value: Any) -> Outcome:
        if self._execution.plan:
            was = f"dry run, but an earlier run may have applied in part: {self._execution.plan}"
            return Outcome.errored(was)
        plan = await self._plan(action, value)
        return Outcome.warned(f"dry run: {plan}", plan=_described(plan))

    @asynccontextmanager
    async def _decided(self, action: PlannedAction, value: Any) -> AsyncGenerator[Plan]:
        """The plan, journaled, with its targets held: the stored one, or one made just now."""
        targets, stored = self._means.targets, self._execution.plan
        since = targets.moment()
        plan = stored or await self._plan(action, value)
        while True:
            async with targets.hold(plan.targets, self._execution.id, since) as is_stale:
                if is_stale and not stored:
                    # Others changed the targets while we planned or waited.
                    self.attempts.start_deadline()
                    held, since = plan.targets, targets.moment()
                    plan = await self._plan(action, value)
                    if not plan.targets <= held:
                        continue
                if not stored:
                    await self._keep(plan)
                yield plan
                return

    def _value(self) -> Any:
        sent = self._execution.trigger.value
        try:
            return self._entry.value.validate_python({} if sent is None else sent)
        except ValidationError as error:
            raise PermanentError(_mistakes(error)) from None

    async def _keep(self, plan: Plan) -> None:
        journal = self._means.journal
        await self._means.insist(lambda: journal.keep_plan(self._execution, plan))

    async def _plan(self, action: PlannedAction, value: Any) -> Plan:
        return await self.attempts.until_done(lambda context: action.plan(context, value))

    async def _applied(self, action: PlannedAction, plan: Plan) -> Outcome:
        try:
            await self.attempts.until_done(lambda context: action.apply(context, plan))
            verdict = await self.attempts.until_done(
                lambda context: action.verify(context, plan), seconds=action.deadline
            )
            return self._means.presentable(verdict)
        except Exception as error:  # noqa: BLE001  what was applied in part must be undone
            return self._means.presentable(self.attempts.explained(error))

    async def _undone(self, action: PlannedAction, plan: Plan, failure: Outcome) -> Outcome:
        self.attempts.start_deadline()
        try:
            told = await self.attempts.until_done(lambda context: action.undo(context, plan))
        except Exception as error:  # noqa: BLE001  the worst case must be told most plainly
            why = self.attempts.explained(error).message
            return Outcome.errored(f"{failure.message}; UNDO FAILED: {why}", **failure.details)
        return replace(failure, message=f"{failure.message}; {told or 'undone'}")


def _with_notes(outcome: Outcome, plan: Plan) -> Outcome:
    if outcome.result != "pass" or not plan.notes:
        return outcome
    return replace(
        outcome, result="warning", message=f"{outcome.message} ({'; '.join(plan.notes)})"
    )


def _described(plan: Plan) -> dict[str, str]:
    return {f"{change.target} {change.field}": change.step for change in plan.changes}


def _mistakes(error: ValidationError) -> str:
    mistakes = error.errors(include_url=False, include_input=False)
    told = [
        f"{'.'.join(('value', *map(str, m['loc'])))}: {m['msg'].removeprefix('Value error, ')}"
        for m in mistakes[:5]
    ]
    return "; ".join(told)
