"""Undoing what a finished execution did, guarded and journaled as the execution itself was."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keptn_remedy import logs
from keptn_remedy.action import Denied, Plan, PlannedAction
from keptn_remedy.attempts import Attempts
from keptn_remedy.journal import DueUndo, Execution
from keptn_remedy.means import Means, text_of
from keptn_remedy.registry import Registry

Ending = tuple[Literal["done", "refused", "failed"], str]


@dataclass(frozen=True, slots=True)
class Undoer:
    """Carries out undos that people, a closed problem or time ask for."""

    means: Means
    registry: Registry

    async def undo(self, due: DueUndo) -> None:
        """Undo it, once, unless a pause holds it back: what nobody asked for waits for its end.

        Raises only CancelledError, when the next process is to begin it anew, and JournalError.
        """
        if self._is_to_wait(due):
            return
        execution, targets = due.execution, self.means.targets
        touched = execution.plan.targets if execution.plan else frozenset[str]()
        async with targets.hold(touched, execution.id, targets.moment()):
            if self._is_to_wait(due) or not await self.means.journal.begin_undo(execution.id):
                return
            await self._end(due, await self._ending(execution))

    def _is_to_wait(self, due: DueUndo) -> bool:
        return not due.by and self.means.guard.paused() is not None

    async def _end(self, due: DueUndo, ending: Ending) -> None:
        state, told = ending
        message = self.means.mask.text(" ".join(told.split()))
        await self.means.insist(
            lambda: self.means.journal.end_undo(due.execution.id, state, message)
        )
        self._sum_up(due, state, message)

    async def _ending(self, execution: Execution) -> Ending:
        if paused := self.means.guard.paused():
            return "refused", str(paused)
        entry = self.registry.find(execution.action)
        action = entry.action if entry else None
        if not isinstance(action, PlannedAction):
            return "failed", f"no planned action {execution.action} is switched on"
        if not (plan := execution.plan):
            return "failed", "its plan can't be read"
        if newer := await self.means.journal.overtaken(execution.id):
            return "refused", f"execution {newer} acted on it since; undo that one first"
        return await self._undone(execution, action, plan)

    async def _undone(self, execution: Execution, action: PlannedAction, plan: Plan) -> Ending:
        attempts = Attempts(self.means, execution, action)
        try:
            told = await attempts.until_done(lambda context: action.undo(context, plan))
        except Denied as denied:
            return "refused", text_of(denied)
        except Exception as error:  # noqa: BLE001  an author's code may fail in any way
            return "failed", attempts.explained(error).message
        return "done", told or f"undone: {plan.reversed}"

    def _sum_up(self, due: DueUndo, state: str, message: str) -> None:
        execution = due.execution
        self.means.metrics.undos(execution.action, state).inc()
        log = logs.logger()
        tell = log.info if state == "done" else log.warning
        tell(
            "undo ended",
            **logs.execution_fields(execution.trigger, execution.action),
            state=state,
            outcome=message,
            cause=due.cause,
            by=due.by,
            reason=due.reason,
        )
