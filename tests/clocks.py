"""Clocks that tests move."""

from __future__ import annotations

import asyncio
from datetime import datetime

from keptn_remedy.support.clock import Clock


class ShiftedClock(Clock):
    """Real time, moved by hand; pauses last as long as ever."""

    shift = 0.0

    def now(self) -> float:
        return super().now() + self.shift


class MovedClock(ShiftedClock):
    """Real time, beginning at a moment of choice. Whoever pauses notices when it is moved on."""

    def __init__(self, begin: str = "2026-03-02T12:00:00+00:00") -> None:
        self.shift = datetime.fromisoformat(begin).timestamp() - super().now()
        self._forward = 0.0
        self._moved = asyncio.Event()

    def monotonic(self) -> float:
        return super().monotonic() + self._forward

    def forward(self, seconds: float) -> None:
        self.shift += seconds
        self._forward += seconds
        self._moved.set()
        self._moved = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        await self.wait(asyncio.Event(), seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        until = self.monotonic() + seconds
        while not event.is_set() and (left := until - self.monotonic()) > 0:
            waits = [asyncio.create_task(e.wait()) for e in (event, self._moved)]
            try:
                await asyncio.wait(waits, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in waits:
                    task.cancel()


class StandingClock(MovedClock):
    """Whoever pauses does so until it is moved on."""

    def monotonic(self) -> float:
        return self._forward


class HastyClock(Clock):
    """Pauses are short, and what is measured can be moved by hand."""

    shift = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.shift

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))
