"""Undoing what a finished execution did, guarded and journaled as the execution itself was."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from keptn_remedy.action import Denied, Plan, PlannedAction
from keptn_remedy.engine.attempts import Attempts
from keptn_remedy.engine.runtime import Runtime, text_of
from keptn_remedy.journal import DueUndo, Execution
from keptn_remedy.registry import Registry
from keptn_remedy.support import logs

UNDOS_AT_ONCE = 20
Ending = tuple[Literal["done", "refused", "failed"], str]


@dataclass(frozen=True, slots=True)
class Undoer:
    """Carries out undos that people, a closed problem or time ask for. `begun` are under way, each
    with the attempts at it.
    """

    means: Runtime
    registry: Registry
    begun: dict[str, Attempts | None] = field(default_factory=dict[str, Attempts | None])

    @property
    def room(self) -> int:
        """How many more may be under way."""
        return max(0, UNDOS_AT_ONCE - len(self.begun))

    async def reserve_targets(self) -> list[DueUndo]:
        """Keep what undos of earlier processes may have left half done from others. These come
        first: others may wait for their targets.

        Raises:
            JournalError: the undos can't be read.
        """
        cut_off = await self.means.journal.undos_begun()
        for due in cut_off:
            await self.means.targets.reserve(touched_by(due), due.execution.id)
        return cut_off

    def puts_off(self, due: DueUndo) -> bool:
        """Whether it waits until it may act, as nobody asked for it."""
        return not due.by and (self.means.dry_run or self.means.guard.paused() is not None)

    async def undo(self, due: DueUndo) -> None:
        """Undo it, once, unless it is put off or finds no room; one that was cut off needs none.

        Raises only CancelledError, when the next process is to begin it anew, or it was given up.
        """
        execution_id, targets = due.execution.id, self.means.targets
        async with targets.hold(touched_by(due), execution_id, targets.moment()):
            if not self.room and due.state != "running":
                return
            self.begun[execution_id] = None
            try:
                if await self.means.insist(lambda: self.means.journal.begin_undo(execution_id)):
                    await self._carry_out(due)
            finally:
                self.begun.pop(execution_id, None)
                self.means.overdue.discard_undo(execution_id)

    def overdue_seconds(self, due: DueUndo) -> float:
        """For how long it has ignored that it was cut off."""
        attempts = self.begun.get(due.execution.id)
        return attempts.overdue_seconds if attempts else 0.0

    async def give_up(self, due: DueUndo, why: str) -> None:
        """End as failed what goes on all the same; its targets stay held until it really ends."""
        self.begun.pop(due.execution.id, None)
        self.means.overdue.add_undo(due.execution.id)
        await self._end(due, ("failed", why))

    async def _carry_out(self, due: DueUndo) -> None:
        journal, execution = self.means.journal, due.execution
        paused = await self.means.guard.paused_by_anybody()
        if not due.by and (paused or self.means.dry_run):
            await self.means.insist(lambda: journal.put_off_undo(execution.id))
        elif paused:
            await self._end(due, ("refused", str(paused)))
        else:
            ending = await self._ending_of_any(execution)
            if execution.id in self.begun:  # else it was given up
                await self._end(due, ending)

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
        attempts = self.begun[execution.id] = Attempts(self.means, execution, action)
        try:
            told = _said(await attempts.until_done(action.undo, plan))
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
