"""Compensation: undoing within an execution, after a failed verification or an abort."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from keptn_remedy.action import Denied, Outcome, Plan, PlannedAction
from keptn_remedy.engine.attempts import Attempts
from keptn_remedy.engine.cancellation import Cancellation
from keptn_remedy.engine.runtime import Runtime, in_one_line, text_of
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.journal import Execution, UndoAtOnce


class Compensation:
    """The undo of one execution by itself. `ended` is what became of it, once it was due."""

    __slots__ = (
        "_action",
        "_attempts",
        "_cancellation",
        "_execution",
        "_guard",
        "_runtime",
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
        self._execution = execution
        self._action = action
        self._attempts = attempts
        self._cancellation = cancellation
        self._runtime = runtime
        self._guard = guard

    async def after_failure(self, failure: Outcome, plan: Plan) -> Outcome:
        """Undo what led to the failure.

        Returns:
            The failure, with what became of the undo in its message.

        Raises:
            Interrupted: the execution was cancelled meanwhile.
        """
        with self._cancellation.shielded():
            return await self._undone(failure, plan)

    async def after_abort(self, plan: Plan, failure: Outcome | None) -> Outcome:
        """Undo what may have been applied, if a rule wants that for a sequence that Keptn aborted,
        or if a `failure` had made it due before. No request interrupts this: the first one stands.
        """
        reason = self._cancellation.reason
        if not plan.changes:
            return Outcome.errored(f"{reason}; nothing had been applied")
        is_due = failure or self._guard.undoes_when_aborted(self._execution, plan)
        if self._runtime.dry_run or not is_due:
            return Outcome.errored(f"{reason}; perhaps applied, and left: {plan}")
        why = f"{reason}; {failure.message}" if failure else f"{reason}"
        return await self._undone(Outcome.errored(why), plan)

    async def _undone(self, failure: Outcome, plan: Plan) -> Outcome:
        if pause := await self._guard.paused_by_anybody():
            self.ended = UndoAtOnce("wanted")
            message = f"{failure.message}; to be undone after the pause: {pause}"
            return replace(failure, message=message)
        self._attempts.start_deadline()
        try:
            said = await self._attempts.until_done(self._action.undo, plan)
        except Denied as denied:
            self._end("refused", text_of(denied))
            return replace(failure, message=f"{failure.message}; not undone: {denied}")
        except Exception as error:  # noqa: BLE001  the worst case must be reported most plainly
            why = self._attempts.explained(error).message
            self._end("failed", why)
            return Outcome.errored(f"{failure.message}; UNDO FAILED: {why}", **failure.details)
        result = str(said or "undone")
        self._end("done", result)
        return replace(failure, message=f"{failure.message}; {result}")

    def _end(self, state: Literal["done", "refused", "failed"], message: str) -> None:
        self.ended = UndoAtOnce(state, self._runtime.mask.text(in_one_line(message)))
