"""Hearing what people wrote into the journal: pauses, verdicts and undos, within a second."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial

from keptn_remedy.engine.runner import OVERDUE_SECONDS
from keptn_remedy.engine.undo.undoer import Undoer, touched_by
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.rails import paused_words
from keptn_remedy.journal import DueUndo, Journal, JournalError, Pause
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

LOOK_SECONDS = 0.5
# More than may be under way: some may have to come after others, or wait for whoever holds their
# targets. What waits stays among the first, so that not many more than these ever wait.
UNDOS_LOOKED_AT = 100
CANCEL_SECONDS = 2.0


class Operators:
    """Looks into the journal for what the service must do next on somebody's word."""

    def __init__(
        self,
        journal: Journal,
        rests: WaitingRoom,
        pauses: Pauses,
        undoer: Undoer,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._journal = journal
        self._rests = rests
        self._pauses = pauses
        self._undoer = undoer
        self._clock = clock
        self._metrics = metrics
        self._told: Pause | None = None
        self._leaving = False
        self._cut_off: list[DueUndo] = []
        self._undoing: dict[asyncio.Task[None], DueUndo] = {}
        self._heard = asyncio.Event()
        self._ordered = asyncio.Event()

    def look(self) -> None:
        """Look now: something was written."""
        self._heard.set()
        self._ordered.set()

    async def reserve_targets(self) -> None:
        """Keep the targets of undos that were cut off for them, until they are taken up again.

        Raises:
            JournalError: the undos can't be read.
        """
        self._cut_off = await self._undoer.reserve_targets()

    def stop_undoing(self) -> None:
        """Begin no undo any more; the next process does."""
        self._leaving = True

    async def hear(self) -> None:
        """Hear of pauses and verdicts, for ever."""
        while True:
            self._heard.clear()
            with suppress(JournalError):
                await self._hear_pause()
                for execution_id in await self._journal.answered():
                    self._rests.ring(execution_id)
            self._tell_pause()
            self._metrics.waiting.set(len(self._rests.tasks))
            await self._clock.wait(self._heard, LOOK_SECONDS)

    async def _hear_pause(self) -> None:
        known = self._pauses.journaled
        found = await self._journal.paused()
        if self._pauses.journaled is known:  # else an order came while the journal was asked
            self._pauses.journaled = found

    async def undo(self) -> None:
        """Carry out the undos that are due, side by side but for those of one target, for ever."""
        try:
            self._begin_again()
            while True:
                await self._give_up_overdue()
                with suppress(JournalError):
                    self._begin(await self._journal.due_undos(self._clock.now(), UNDOS_LOOKED_AT))
                await self._clock.wait(self._ordered, LOOK_SECONDS)
                self._ordered.clear()
        finally:
            await self.drain(0)

    async def drain(self, seconds: float, cancel_seconds: float = CANCEL_SECONDS) -> None:
        """Let undos under way end; cancel those that don't within that time, for the next process
        to repeat.
        """
        self.stop_undoing()
        begun = {t for t, due in self._undoing.items() if due.execution.id in self._undoer.begun}
        for task in self._undoing.keys() - begun:
            task.cancel()
        if begun:
            await asyncio.wait(begun, timeout=seconds)
        for task in self._undoing:
            task.cancel()
        if self._undoing:
            _, stuck = await asyncio.wait(self._undoing, timeout=cancel_seconds)
            if stuck:
                logs.logger().error("undos ignore their cancellation", count=len(stuck))
            self._undoing.clear()  # waited for once

    def _begin_again(self) -> None:
        """Begin what was cut off, before anything that may wait for its targets."""
        if not self._leaving:
            for due in self._cut_off:
                self._start(due)

    def _begin(self, found: list[DueUndo]) -> None:
        """Begin what may be begun. What shares a target with an earlier one comes after it."""
        room = self._undoer.room
        taken = {target for due in self._undoing.values() for target in touched_by(due)}
        known = {due.execution.id for due in self._undoing.values()}
        for due in found:
            if not room or self._leaving:
                return
            if due.execution.id in known or self._undoer.puts_off(due):
                continue
            if taken.isdisjoint(touched_by(due)):
                self._start(due)
                room -= 1
            taken |= touched_by(due)

    def _start(self, due: DueUndo) -> None:
        task = asyncio.create_task(self._undoer.undo(due))
        self._undoing[task] = due
        task.add_done_callback(partial(self._ended, due))

    async def _give_up_overdue(self) -> None:
        """End what ignores its deadline. It takes no room any more, but keeps its targets."""
        for task, due in list(self._undoing.items()):
            seconds = self._undoer.overdue_seconds(due)
            if seconds > OVERDUE_SECONDS:
                task.cancel()
                why = f"it goes on {seconds:.0f} s after it was cut off, and is not waited for"
                await self._undoer.give_up(due, why)

    def _ended(self, due: DueUndo, task: asyncio.Task[None]) -> None:
        self._undoing.pop(task, None)
        if task.cancelled():
            return
        if error := task.exception():
            fields = logs.execution_fields(due.execution.trigger, due.execution.action)
            logs.logger().error("an undo can't be carried out", **fields, exc_info=error)
        else:
            self._ordered.set()  # others may have come after it

    def _tell_pause(self) -> None:
        pause = self._pauses.current()
        self._metrics.paused.set(1 if pause else 0)
        if pause == self._told:
            return
        if pause:
            logs.logger().warning("paused", by=pause.by, reason=pause.reason)
        else:
            was = paused_words(self._told) if self._told else ""
            logs.logger().warning("resumed", was=was)
        self._told = pause
