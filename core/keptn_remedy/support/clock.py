"""Time, handed in so that tests can own it."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime


class Clock:
    """The real time."""

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only ever grow, for measuring."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Pause."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Pause until the event is set, at most that long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    def utc(self) -> datetime:
        """Now, as a time with a zone."""
        return datetime.fromtimestamp(self.now(), UTC)
