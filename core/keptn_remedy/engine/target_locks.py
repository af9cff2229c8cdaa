"""Locks that let one execution or undo at a time hold a target."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

REMEMBERED = 10_000


class TargetLocks:
    """Who holds which target. Waiting is in order, and can't end in a deadlock.

    `moment` counts releases: a point in time, to ask later whether targets were held since.
    """

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._interest: dict[str, int] = {}
        self._reserved: dict[str, str] = {}
        self._holders: dict[str, str] = {}
        self.moment = 0
        self._released: dict[str, int] = {}
        self._forgotten_until = 0

    async def reserve(self, targets: frozenset[str], owner: str) -> None:
        """Hold targets for an execution that a crash cut off, until it holds them itself or ends.

        To be called before anything runs; what is held all the same is left out.
        """
        for target in targets:
            if target not in self._locks:
                await self._lock_of(target).acquire()
                self._reserved[target] = owner

    def forget(self, owner: str) -> None:
        """Let go of what is still reserved for an execution."""
        for target in [t for t, holder in self._reserved.items() if holder == owner]:
            del self._reserved[target]
            self._let_go(target)

    def holder(self, target: str) -> str | None:
        """Who holds a target now."""
        return self._holders.get(target)

    def is_any_taken(self, targets: frozenset[str], owner: str) -> bool:
        """Whether others hold one of them, or have it reserved."""
        return any(
            target in self._locks and self._reserved.get(target) != owner for target in targets
        )

    @asynccontextmanager
    async def hold(self, targets: frozenset[str], owner: str, since: int) -> AsyncGenerator[bool]:
        """Hold all of them until the context is left; yields whether others held one `since`."""
        async with AsyncExitStack() as held:
            # One order for all: no two executions can wait for each other.
            for target in sorted(targets):
                await self._take(target, owner)
                self._holders[target] = owner
                held.callback(self._let_go, target)
            yield any(self._last_release(target) > since for target in targets)

    async def _take(self, target: str, owner: str) -> None:
        if self._reserved.get(target) == owner:
            del self._reserved[target]
            return
        lock = self._lock_of(target)
        try:
            await lock.acquire()
        except asyncio.CancelledError:
            self._lose_interest(target)
            raise

    def _let_go(self, target: str) -> None:
        self._holders.pop(target, None)
        self._note_release(target)
        self._locks[target].release()
        self._lose_interest(target)

    def _lock_of(self, target: str) -> asyncio.Lock:
        self._interest[target] = self._interest.get(target, 0) + 1
        return self._locks.setdefault(target, asyncio.Lock())

    def _lose_interest(self, target: str) -> None:
        self._interest[target] -= 1
        if not self._interest[target]:
            del self._interest[target], self._locks[target]

    def _last_release(self, target: str) -> int:
        return self._released.get(target, self._forgotten_until)

    def _note_release(self, target: str) -> None:
        self.moment += 1
        if len(self._released) >= REMEMBERED:
            self._released.clear()
            self._forgotten_until = self.moment
        self._released[target] = self.moment
