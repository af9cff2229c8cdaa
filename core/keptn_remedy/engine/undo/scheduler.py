"""The undo scheduler: undos that are due begin side by side, those of one target one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass

from keptn_remedy.engine.crew import CANCEL_SECONDS, Crew
from keptn_remedy.engine.undo.undoer import Undoer, touched_by
from keptn_remedy.engine.watchdog import Watched
from keptn_remedy.journal import DueUndo, Execution, JournalError, NotOwner, Undos
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

LOOK_SECONDS = 0.5
# More than may be under way: some have to come after others, or wait for whoever holds their
# targets. What waits stays among the first, so that not many more than these ever wait.
UNDOS_LOOKED_AT = 100


class UndoScheduler:
    """Looks into the journal for undos that people ordered, or that have become due."""

    def __init__(self, journal: Undos, undoer: Undoer, clock: Clock) -> None:
        self._journal = journal
        self._undoer = undoer
        self._clock = clock
        self._crew = Crew[DueUndo]("undos", self._note_end)
        self._cut_off: list[DueUndo] = []
        self._is_stopped = False
        self._wake = asyncio.Event()

    def look(self) -> None:
        """Look now: an undo was ordered."""
        self._wake.set()

    async def reserve_targets(self) -> None:
        """Keep the targets of undos that were cut off locked, until they are taken up again.

        Raises:
            JournalError: the undos can't be read.
        """
        self._cut_off = await self._undoer.reserve_targets()

    async def run(self) -> None:
        """Carry out undos that are due, until cancelled."""
        try:
            # What was cut off comes first: others may wait for its targets.
            for due in () if self._is_stopped else self._cut_off:
                self._start(due)
            while True:
                with suppress(JournalError):
                    self._begin(await self._journal.due_undos(self._clock.now(), UNDOS_LOOKED_AT))
                await self._clock.wait(self._wake, LOOK_SECONDS)
                self._wake.clear()
        finally:
            await self.drain(0)

    def stop(self) -> None:
        """Begin no undo any more; the next process does."""
        self._is_stopped = True

    async def drain(self, seconds: float, cancel_seconds: float = CANCEL_SECONDS) -> None:
        """Let undos under way end, and cancel those that don't within that time: the next process
        repeats them. Those that have not begun, or were abandoned, are cancelled at once.
        """
        self.stop()
        await self._crew.drain(seconds, cancel_seconds, waits_for=self._undoer.has_begun)

    def cut_off(self) -> None:
        """Cancel the undos under way: they are another replica's, or may be."""
        self._crew.cancel(lambda due: True)

    def execution_of(self, task: asyncio.Task[object]) -> Execution | None:
        """The execution that a task undoes."""
        due = self._crew.thing_of(task)
        return due.execution if due else None

    def under_way(self) -> Iterator[Watched]:
        """The undos under way, for the watchdog."""
        return (_Undo(self._undoer, self._crew, due) for due in self._crew.things)

    def _begin(self, found: list[DueUndo]) -> None:
        """Begin what may begin. What shares a target with an earlier one comes after it."""
        room = self._undoer.room
        taken = {target for due in self._crew.things for target in touched_by(due)}
        known = {due.execution.id for due in self._crew.things}
        for due in found:
            if not room or self._is_stopped:
                return
            if due.execution.id in known or self._undoer.puts_off(due):
                continue
            if taken.isdisjoint(touched_by(due)):
                self._start(due)
                room -= 1
            taken |= touched_by(due)

    def _start(self, due: DueUndo) -> None:
        self._crew.start(due, self._undoer.undo(due))

    def _note_end(self, due: DueUndo, error: BaseException | None) -> None:
        if error and not isinstance(error, NotOwner):
            fields = logs.execution_fields(due.execution.trigger, due.execution.action)
            logs.logger().error("an undo can't be carried out", **fields, exc_info=error)
        else:
            self._wake.set()  # others may have come after it


@dataclass(frozen=True, slots=True)
class _Undo:
    """An undo under way as the watchdog sees it. It waits for no target that it does not hold."""

    undoer: Undoer
    crew: Crew[DueUndo]
    due: DueUndo

    @property
    def overdue_seconds(self) -> float:
        return self.undoer.overdue_seconds(self.due)

    @property
    def waits_for(self) -> Collection[str]:
        return ()

    def stop_waiting(self, holder: str) -> None:
        """It never waits for one."""

    async def abandon(self, why: str) -> None:
        self.crew.cancel(lambda due: due is self.due)
        await self.undoer.abandon(self.due, why)
