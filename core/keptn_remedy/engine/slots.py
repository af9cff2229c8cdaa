"""Slots: how many executions run at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable


class Slots:
    """A number of slots, `free` of which nobody has.

    Whoever lent one to wait for something gets the next free one first, in the order of asking;
    only then do the listeners hear of a free slot.
    """

    def __init__(self, limit: int) -> None:
        self.free = limit
        self._returning: deque[asyncio.Future[None]] = deque()
        self._listeners: list[Callable[[], None]] = []

    def notify(self, listener: Callable[[], None]) -> None:
        """Call this whenever a slot is lent that nobody waits for."""
        self._listeners.append(listener)

    def take(self) -> None:
        """Take a slot, free or not: the caller has looked, or is about to end."""
        self.free -= 1

    def give_back(self) -> bool:
        """Free a slot, and return whether it stays free: nobody waits to take one again."""
        self.free += 1
        while self.free > 0 and self._returning:
            returning = self._returning.popleft()
            if not returning.done():
                # Handed over here and now: nobody can take it before its new owner runs.
                self.free -= 1
                returning.set_result(None)
        return self.free > 0

    def lend(self) -> None:
        """Free a slot for as long as its owner waits, and tell the listeners if it stays free."""
        if self.give_back():
            for listener in self._listeners:
                listener()

    async def retake(self) -> None:
        """Take a slot as soon as one is free. Once cancelled, none is taken."""
        if self.free > 0 and not self._returning:
            self.free -= 1
            return
        handed_over = asyncio.get_running_loop().create_future()
        self._returning.append(handed_over)
        try:
            await handed_over
        except asyncio.CancelledError:
            # The slot may have been handed over in the moment before the cancellation.
            if handed_over.done() and not handed_over.cancelled():
                self.give_back()
            raise
