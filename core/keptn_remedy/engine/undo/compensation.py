"""Compensation: undoing within an execution, after a failed verification or an abort."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from keptn_remedy.action import Outcome, Plan, PlannedAction
from keptn_remedy.engine.attempts import Attempts
from keptn_remedy.engine.cancellation import Cancellation
from keptn_remedy.engine.declared import undoes_aborted
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.threads import NotBegun
from keptn_remedy.engine.undo.attempted import attempted
from keptn_remedy.events.bounds import MAX_MESSAGE_CHARACTERS, shortened
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.journal import Execution, UndoAtOnce

# The longest failure, and the longest message of its undo: neither may crowd the other out.
_PART = MAX_MESSAGE_CHARACTERS // 2 - 50


class Compensation:
    """The undo of one execution by itself. `ended` is what became of it, once it was due."""

    __slots__ = (
        "_action",
        "_attempts",
        "_cancellation",
        "_execution",
        "_guard",
        "_runtime",
        "_told",
        "ended",
    )

    def __init__(
        self,
        execution: Execution,
        action: PlannedAction,
        attempts: Attempts,
        cancellation: Cancellation,
        *,
        runtime: Runtime,
        guard: Guard,
    ) -> None:
        self.ended: UndoAtOnce | None = None
        self._told = Outcome.errored("not undone")
        self._execution = execution
        self._action = action
        self._attempts = attempts
        self._cancellation = cancellation
        self._runtime = runtime
        self._guard = guard

    async def after_failure(self, failure: Outcome, plan: Plan) -> Outcome:
        """Undo what led to the failure, which is presentable.

        Returns:
            The failure, still presentable, with what became of the undo in its message.

        Raises:
            Interrupted: the execution was cancelled meanwhile.
        """
        with self._cancellation.shielded():
            return await self._undone(failure, plan)

    async def after_abort(self, reason: str | None, plan: Plan, failure: Outcome | None) -> Outcome:
        """Undo what may have been applied, if a rule wants that for a sequence that Keptn aborted,
        or if a `failure` had made it due before. No request interrupts this: the first one stands.
        """
        if self.ended:  # the abort came during the undo, which has ended: there is no second one
            return Outcome.errored(f"{reason}; {self._told.message}")
        if not plan.changes:
            return Outcome.errored(f"{reason}; nothing was done")
        is_wanted = undoes_aborted(self._action)
        is_due = failure or is_wanted or self._guard.undoes_when_aborted(self._execution, plan)
        if self._runtime.dry_run or not is_due:
            return Outcome.errored(f"{reason}; perhaps applied, and left: {plan}")
        why = f"{reason}; {failure.message}" if failure else f"{reason}"
        return await self._undone(Outcome.errored(why), plan)

    async def _undone(self, failure: Outcome, plan: Plan) -> Outcome:
        self._told = await self._undo(failure, plan)
        return self._told

    async def _undo(self, failure: Outcome, plan: Plan) -> Outcome:
        pause = await self._guard.paused_by_anybody()
        if not pause:
            self._attempts.start_deadline()
            action, attempts = self._action, self._attempts
            try:
                ending = await attempted(attempts, action, plan, _text, self._guard)
                return self._after_undo(failure, *ending)
            except NotBegun as stopped:
                pause = stopped.refusal
        self.ended = UndoAtOnce("wanted")
        why = self._runtime.text(f"to be undone after the pause: {pause}", _PART)
        return replace(failure, message=f"{shortened(failure.message, _PART)}; {why}")

    def _after_undo(
        self, failure: Outcome, state: Literal["done", "refused", "failed"], said: str
    ) -> Outcome:
        failed = shortened(failure.message, _PART)
        said = self._runtime.text(said or "undone", _PART)
        self.ended = UndoAtOnce(state, said)
        if state == "failed":  # the worst case must be reported most plainly
            return Outcome.errored(f"{failed}; UNDO FAILED: {said}", **failure.details)
        result = f"not undone: {said}" if state == "refused" else said
        return replace(failure, message=f"{failed}; {result}")


def _text(returned: object) -> str | None:
    return str(returned) if returned else None
