"""Undoing what a finished execution did, guarded and journaled as the execution itself was."""

from __future__ import annotations

from dataclasses import dataclass, field
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
    """Carries out undos that people, a closed problem or time ask for. `begun` are under way."""

    means: Means
    registry: Registry
    begun: set[str] = field(default_factory=set[str])

    async def reserve_targets(self) -> None:
        """Keep what undos of the last process may have left half done from others.

        Raises:
            JournalError: the undos can't be read.
        """
        for due in await self.means.journal.undos_begun():
            await self.means.targets.reserve(touched_by(due), due.execution.id)

    def puts_off(self, due: DueUndo) -> bool:
        """Whether it waits until it may act, as nobody asked for it; its targets are let go of."""
        if due.by or not (self.means.dry_run or self.means.guard.paused()):
            return False
        self.means.targets.forget(due.execution.id)
        return True

    async def undo(self, due: DueUndo) -> None:
        """Undo it, once, unless it is put off.

        Raises only CancelledError, when the next process is to begin it anew.
        """
        execution, targets, journal = due.execution, self.means.targets, self.means.journal
        async with targets.hold(touched_by(due), execution.id, targets.moment()):
            if self.puts_off(due):
                return
            self.begun.add(execution.id)
            try:
                if await self.means.insist(lambda: journal.begin_undo(execution.id)):
                    await self._end(due, await self._ending_of_any(execution))
            finally:
                self.begun.discard(execution.id)

    async def _end(self, due: DueUndo, ending: Ending) -> None:
        state, told = ending
        message = self.means.mask.text(" ".join(told.split()))
        await self.means.insist(
            lambda: self.means.journal.end_undo(due.execution.id, state, message)
        )
        self._sum_up(due, state, message)

    async def _ending_of_any(self, execution: Execution) -> Ending:
        try:
            return await self._ending(execution)
        except Exception as error:  # noqa: BLE001  whatever it is, the undo must come to an end
            fields = logs.execution_fields(execution.trigger, execution.action)
            logs.logger().error("an undo failed unexpectedly", **fields, exc_info=error)
            return "failed", f"unexpected {text_of(error)}"

    async def _ending(self, execution: Execution) -> Ending:
        if paused := self.means.guard.paused():
            return "refused", str(paused)
        entry = self.registry.find(execution.action)
        action = entry.action if entry else None
        if not isinstance(action, PlannedAction):
            return "failed", f"no planned action {execution.action} is switched on"
        if not (plan := execution.plan):
            return "failed", "its plan can't be read"
        journal = self.means.journal
        if newer := await self.means.insist(lambda: journal.overtaken(execution.id)):
            return "refused", f"execution {newer} acted on it since; undo that one first"
        if self.means.dry_run:
            return "refused", f"dry run: it would have undone {plan}"
        return await self._undone(execution, action, plan)

    async def _undone(self, execution: Execution, action: PlannedAction, plan: Plan) -> Ending:
        attempts = Attempts(self.means, execution, action)
        try:
            told = _said(await attempts.until_done(lambda context: action.undo(context, plan)))
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


def touched_by(due: DueUndo) -> frozenset[str]:
    """The targets of an undo."""
    return due.execution.plan.targets if due.execution.plan else frozenset()


def _said(returned: object) -> str | None:
    """What an author's undo returned, which may be anything."""
    if not isinstance(returned, str | None):
        raise TypeError(f"undo returned {type(returned).__name__} instead of text or None")
    return returned
