"""One planned execution at a time per target."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager


class Targets:
    """Who holds which target. Waiting is in order, and can't end in a deadlock."""

    def __init__(self) -> None:
        self._locks: dict[str, asyncio.Lock] = {}
        self._interest: dict[str, int] = {}

    @asynccontextmanager
    async def hold(self, targets: frozenset[str]) -> AsyncIterator[bool]:
        """Hold all of them until the context is left; yields whether it had to wait."""
        waited = False
        async with AsyncExitStack() as held:
            # One order for all: no two executions can wait for each other.
            for target in sorted(targets):
                waited |= await held.enter_async_context(self._one(target))
            yield waited

    @asynccontextmanager
    async def _one(self, target: str) -> AsyncIterator[bool]:
        lock = self._locks.setdefault(target, asyncio.Lock())
        self._interest[target] = self._interest.get(target, 0) + 1
        waited = lock.locked()
        try:
            async with lock:
                yield waited
        finally:
            self._interest[target] -= 1
            if not self._interest[target]:
                del self._interest[target], self._locks[target]
