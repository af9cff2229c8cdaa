"""Holds each `finished` back until Keptn has surely counted its `started`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from keptn_remedy.journal import Unsent
from keptn_remedy.support.clock import Clock

# One release for all that became due meanwhile.
RELEASE_SECONDS = 0.02
IDLE_SECONDS = 60.0


class HeldBack:
    """Chains of which the first report is a `finished` that may not leave yet: for `seconds` after
    its `started` was acknowledged, Keptn may count it first (docs/keptn.md#k12).

    They wait in memory, all in one timer. `release` is called with each chain whose time has come.
    """

    def __init__(self, seconds: float, release: Callable[[str], None], clock: Clock) -> None:
        self._seconds = seconds
        self._release = release
        self._clock = clock
        # Until when a chain's `finished` is held, by the monotonic clock: the oldest comes first.
        self._until: dict[str, float] = {}
        self._held: set[str] = set()
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._held)

    def holds(self, chain: str) -> bool:
        """Whether the first report of this chain is held back."""
        return chain in self._held

    def note_started(self, chain: str) -> None:
        """Keptn has just acknowledged the `started` of a chain."""
        if not self._until:
            self._wake.set()
        self._until[chain] = self._clock.monotonic() + self._seconds

    def hold(self, unsent: Unsent) -> bool:
        """Hold a report back, and with it its chain, if its time has not come."""
        chain = unsent.chain
        if unsent.report.kind != "finished" or chain not in self._until:
            return False
        self._held.add(chain)
        return True

    async def run(self) -> None:
        """Release what is due, until cancelled."""
        while True:
            self._wake.clear()
            await self._clock.wait(self._wake, self._release_due())

    def _release_due(self) -> float:
        """Release chains; returns the seconds until the next one is due."""
        now = self._clock.monotonic()
        while self._until:
            chain, until = next(iter(self._until.items()))
            if until > now:
                return max(until - now, RELEASE_SECONDS)
            del self._until[chain]
            if chain in self._held:
                self._held.remove(chain)
                self._release(chain)
        return IDLE_SECONDS
