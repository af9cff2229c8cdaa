"""Undoing what an execution itself has to undo: after a failed verification, or an abort."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from keptn_remedy.action import Denied, Outcome, Plan, PlannedAction
from keptn_remedy.engine.attempts import Attempts
from keptn_remedy.engine.cancellation import Cancellation
from keptn_remedy.engine.runtime import Runtime, text_of
from keptn_remedy.guardrails.rails import Refusal
from keptn_remedy.journal import Execution, UndoAtOnce


class Compensation:
    """The undo of one execution in this process. `ended`: what became of it, once it was due."""

    __slots__ = ("_attempts", "_execution", "_giving_up", "_means", "ended")

    def __init__(
        self, means: Runtime, execution: Execution, attempts: Attempts, giving_up: Cancellation
    ) -> None:
        self.ended: UndoAtOnce | None = None
        self._means = means
        self._execution = execution
        self._attempts = attempts
        self._giving_up = giving_up

    async def after_abort(
        self, action: PlannedAction, plan: Plan, failure: Outcome | None
    ) -> Outcome:
        """Undo what may have been applied, if that is wanted of a sequence that Keptn has ended, or
        was due before because of a failure.
        """
        self._giving_up.is_putting_back = True
        reason, guard = self._giving_up.reason, self._means.guard
        if not plan.changes:
            return Outcome.errored(f"{reason}; nothing had been applied")
        is_wanted = failure or guard.undoes_when_aborted(self._execution, plan)
        if self._means.dry_run or not is_wanted:
            return Outcome.errored(f"{reason}; perhaps applied, and left: {plan}")
        why = failure.message if failure else ""
        return await self.after(
            Outcome.errored("; ".join(filter(None, (reason, why)))), action, plan
        )

    async def after(self, failure: Outcome, action: PlannedAction, plan: Plan) -> Outcome:
        """The failure, and what became of undoing what led to it."""
        if pause := await self._means.guard.paused_by_anybody():
            return self._to_follow(failure, pause)
        self._attempts.start_deadline()
        try:
            with self._giving_up.shielded():
                told = await self._attempts.until_done(action.undo, plan)
        except Denied as denied:
            self._end("refused", text_of(denied))
            return replace(failure, message=f"{failure.message}; not undone: {denied}")
        except Exception as error:  # noqa: BLE001  the worst case must be told most plainly
            why = self._attempts.explained(error).message
            self._end("failed", why)
            return Outcome.errored(f"{failure.message}; UNDO FAILED: {why}", **failure.details)
        said = str(told or "undone")
        self._end("done", said)
        return replace(failure, message=f"{failure.message}; {said}")

    def _to_follow(self, failure: Outcome, pause: Refusal) -> Outcome:
        self.ended = UndoAtOnce("wanted")
        return replace(failure, message=f"{failure.message}; to be undone after the pause: {pause}")

    def _end(self, state: Literal["done", "refused", "failed"], said: str) -> None:
        self.ended = UndoAtOnce(state, self._means.mask.text(" ".join(said.split())))
