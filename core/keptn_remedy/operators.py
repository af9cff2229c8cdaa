"""Hearing what people wrote into the journal: pauses, verdicts and undos, within a second."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from keptn_remedy import logs
from keptn_remedy.clock import Clock
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.rails import paused_words
from keptn_remedy.journal import Journal, JournalError, Pause
from keptn_remedy.metrics import Metrics
from keptn_remedy.rests import Rests
from keptn_remedy.undoing import Undoer

LOOK_SECONDS = 0.5
UNDOS_AT_ONCE = 20


class Operators:
    """Looks into the journal for what the service must do next on somebody's word."""

    def __init__(
        self,
        journal: Journal,
        rests: Rests,
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
        self._heard = asyncio.Event()
        self._ordered = asyncio.Event()

    def look(self) -> None:
        """Look now: something was written."""
        self._heard.set()
        self._ordered.set()

    def stop_undoing(self) -> None:
        """Begin no undo any more; the next process does."""
        self._leaving = True

    async def hear(self) -> None:
        """Hear of pauses and verdicts, for ever."""
        while True:
            self._heard.clear()
            with suppress(JournalError):
                self._pauses.journaled = await self._journal.paused()
                for execution_id in await self._journal.answered():
                    self._rests.ring(execution_id)
            self._tell_pause()
            self._metrics.waiting.set(len(self._rests.tasks))
            await self._clock.wait(self._heard, LOOK_SECONDS)

    async def undo(self) -> None:
        """Carry out the undos that are due, one after the other, for ever."""
        while True:
            with suppress(JournalError):
                for due in await self._journal.due_undos(self._clock.now(), UNDOS_AT_ONCE):
                    if not self._leaving:
                        await self._undoer.undo(due)
            await self._clock.wait(self._ordered, LOOK_SECONDS)
            self._ordered.clear()

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
