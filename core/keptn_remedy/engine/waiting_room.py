"""Executions that wait for a person or for their turn: they rest, and take no slot."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

from keptn_remedy.support.clock import Clock


class WaitingRoom:
    """Who rests, and for what. `on_rest` is called whenever a slot becomes free by it, `has_room`
    tells whether one is free.
    """

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[object]] = set()
        self.on_rest: Callable[[], None] = lambda: None
        self.has_room: Callable[[], bool] = lambda: True
        self._for_room: deque[asyncio.Event] = deque()
        self._bells: dict[str, dict[asyncio.Event, None]] = {}
        self._is_leaving = False

    async def until_rung(self, bell: str, seconds: float, clock: Clock) -> None:
        """Rest until somebody rings, at most that long, and then until there is a slot again."""
        ringing = asyncio.Event()
        self._bells.setdefault(bell, {})[ringing] = None
        try:
            with self._resting():
                await clock.wait(ringing, seconds)
                await self._until_room()
        finally:
            waiting = self._bells[bell]
            del waiting[ringing]
            if not waiting:
                del self._bells[bell]

    def ring(self, bell: str) -> None:
        """Wake whoever has waited longest for this bell and was not woken yet."""
        for ringing in self._bells.get(bell, ()):
            if not ringing.is_set():
                ringing.set()
                return

    def note_room(self) -> None:
        """A slot has become free: whoever has waited longest for one may take it."""
        for freed in self._for_room:
            if not freed.is_set():
                freed.set()
                return

    async def _until_room(self) -> None:
        while not self.has_room():
            freed = asyncio.Event()
            self._for_room.append(freed)
            try:
                await freed.wait()
            finally:
                self._for_room.remove(freed)

    def cut_short(self) -> None:
        """Cancel who rests, and who is about to: nothing of it has begun."""
        self._is_leaving = True
        for task in self.tasks:
            task.cancel()

    @contextmanager
    def _resting(self) -> Generator[None]:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("only a task can rest")
        self.tasks.add(task)
        self.on_rest()
        if self._is_leaving:
            task.cancel()
        try:
            yield
        finally:
            self.tasks.discard(task)
