"""Orders: what people wrote into the journal, pauses and verdicts, is heard within a second, and
the journal says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.rails import paused_words
from keptn_remedy.journal import Journal, JournalError, Pause
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

LOOK_SECONDS = 0.5


class Orders:
    """Looks into the journal for pauses, and for verdicts on what executions ask."""

    def __init__(
        self,
        journal: Journal,
        waiting_room: WaitingRoom,
        pauses: Pauses,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._journal = journal
        self._waiting_room = waiting_room
        self._pauses = pauses
        self._clock = clock
        self._metrics = metrics
        self._heard = 0
        self._tell: Callable[[], None] = lambda: None
        self._reported: Pause | None = None
        self._wake = asyncio.Event()

    def notify(self, tell: Callable[[], None]) -> None:
        """Call this for each new order, before it counts as heard."""
        self._tell = tell

    def look(self) -> None:
        """Look now: something was written."""
        self._wake.set()

    async def run(self) -> None:
        """Look twice a second, until cancelled."""
        while True:
            self._wake.clear()
            with suppress(JournalError):
                await self._hear()
            self._report_pause()
            self._metrics.waiting.set(len(self._waiting_room))
            await self._clock.wait(self._wake, LOOK_SECONDS)

    async def _hear(self) -> None:
        # Counted before anything is read: what comes later is heard at the next look.
        given = await self._journal.orders_given()
        await self._pauses.refresh()
        for execution_id in await self._journal.answered():
            self._waiting_room.answered(execution_id)
        if given != self._heard:
            self._tell()
            await self._journal.note_heard(given)
            self._heard = given

    def _report_pause(self) -> None:
        pause = self._pauses.current
        self._metrics.paused.set(1 if pause else 0)
        if pause == self._reported:
            return
        if pause:
            logs.logger().warning("paused", by=pause.by, reason=pause.reason)
        else:
            was = paused_words(self._reported) if self._reported else ""
            logs.logger().warning("resumed", was=was)
        self._reported = pause
