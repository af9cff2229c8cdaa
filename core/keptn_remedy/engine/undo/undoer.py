"""The undoer: the undo of a finished execution, guarded and journaled like the execution itself."""

from __future__ import annotations

from keptn_remedy.action import Plan, PlannedAction
from keptn_remedy.engine.attempts import Attempts
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.runtime import Runtime, text_of
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.threads import NotBegun
from keptn_remedy.engine.undo.attempted import UndoEnding, attempted
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.journal import DueUndo, Execution
from keptn_remedy.registry import Registry
from keptn_remedy.support import logs

UNDOS_AT_ONCE = 20


class Undoer:
    """Carries out undos of finished executions: those that people order, and those that a closed
    problem or the time makes due.
    """

    def __init__(
        self,
        runtime: Runtime,
        registry: Registry,
        guard: Guard,
        locks: TargetLocks,
        overdue: Overdue,
    ) -> None:
        self._runtime = runtime
        self._registry = registry
        self._guard = guard
        self._locks = locks
        self._overdue = overdue
        # Those under way by the id of their execution, each with the attempts at it.
        self._begun: dict[str, Attempts | None] = {}

    @property
    def room(self) -> int:
        """How many more may be under way."""
        return max(0, UNDOS_AT_ONCE - len(self._begun))

    def has_begun(self, due: DueUndo) -> bool:
        """Whether an undo holds its targets, and is under way."""
        return due.execution.id in self._begun

    async def reserve_targets(self) -> list[DueUndo]:
        """Lock the targets of undos that an earlier process may have left half done, and return
        these undos.

        Raises:
            JournalError: the undos can't be read.
        """
        cut_off = await self._runtime.journal.undos_begun()
        for due in cut_off:
            await self._locks.reserve(touched_by(due), due.execution.id)
        return cut_off

    def puts_off(self, due: DueUndo) -> bool:
        """Whether it waits until it may act: nobody asked for it."""
        return not due.by and (self._runtime.dry_run or self._guard.paused() is not None)

    async def undo(self, due: DueUndo) -> None:
        """Undo it once, unless it is put off or finds no room. One that was cut off needs no room.

        Raises only CancelledError: the next process begins it anew, or it was abandoned.
        """
        execution_id, locks = due.execution.id, self._locks
        async with locks.hold(touched_by(due), execution_id, locks.moment):
            if not self.room and due.state != "running":
                return
            self._begun[execution_id] = None
            try:
                journal = self._runtime.journal
                if await self._runtime.insist(lambda: journal.begin_undo(execution_id)):
                    await self._carry_out(due)
            finally:
                self._begun.pop(execution_id, None)
                self._overdue.discard_undo(execution_id)

    def overdue_seconds(self, due: DueUndo) -> float:
        """For how long an undo has ignored that it was cut off; 0 while it is in time."""
        attempts = self._begun.get(due.execution.id)
        return attempts.overdue_seconds if attempts else 0.0

    async def abandon(self, due: DueUndo, why: str) -> None:
        """Store an undo as failed while its code runs on, with its targets locked until it ends."""
        self._begun.pop(due.execution.id, None)
        self._overdue.add_undo(due.execution.id)
        await self._end(due, ("failed", why))

    async def _carry_out(self, due: DueUndo) -> None:
        journal, execution = self._runtime.journal, due.execution
        paused = await self._guard.paused_by_anybody()
        if not paused and (due.by or not self._runtime.dry_run):
            try:
                ending = await self._ending_of_any(execution)
            except NotBegun as stopped:
                paused = stopped.refusal
            else:
                if execution.id in self._begun:  # else it was abandoned
                    await self._end(due, ending)
                return
        if due.by and paused:
            await self._end(due, ("refused", str(paused)))
        else:
            await self._runtime.insist(lambda: journal.put_off_undo(execution.id))

    async def _end(self, due: DueUndo, ending: UndoEnding) -> None:
        state, said = ending
        message = self._runtime.text(said)
        await self._runtime.insist(
            lambda: self._runtime.journal.end_undo(due.execution.id, state, message)
        )
        self._sum_up(due, state, message)

    async def _ending_of_any(self, execution: Execution) -> UndoEnding:
        try:
            return await self._ending(execution)
        except Exception as error:  # noqa: BLE001  whatever it is, the undo must come to an end
            fields = logs.execution_fields(execution.trigger, execution.action)
            logs.logger().error("an undo failed unexpectedly", **fields, exc_info=error)
            return "failed", f"unexpected {text_of(error)}"

    async def _ending(self, execution: Execution) -> UndoEnding:
        entry = self._registry.find(execution.action)
        action = entry.action if entry else None
        if not isinstance(action, PlannedAction):
            return "failed", f"no planned action {execution.action} is switched on"
        if not (plan := execution.plan):
            return "failed", "its plan can't be read"
        journal = self._runtime.journal
        if newer := await self._runtime.insist(lambda: journal.overtaken(execution.id)):
            return "refused", f"execution {newer} acted on it since; undo that one first"
        if self._runtime.dry_run:
            return "refused", f"dry run: it would have undone {plan}"
        return await self._undone(execution, action, plan)

    async def _undone(self, execution: Execution, action: PlannedAction, plan: Plan) -> UndoEnding:
        attempts = self._begun[execution.id] = Attempts(self._runtime, execution, action)
        state, said = await attempted(attempts, action, plan, _said, self._guard)
        return state, said or f"undone: {plan.reversed}"

    def _sum_up(self, due: DueUndo, state: str, message: str) -> None:
        execution = due.execution
        self._runtime.metrics.undos(execution.action, state).inc()
        log = logs.logger()
        write = log.info if state == "done" else log.warning
        write(
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
