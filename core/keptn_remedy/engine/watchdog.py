"""The watchdog: what ignores its deadline is ended for Keptn, and nobody waits for it any more."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Protocol

from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.support.clock import Clock

WATCH_SECONDS = 5.0
OVERDUE_SECONDS = 30.0


class Watched(Protocol):
    """An execution or an undo under way."""

    @property
    def overdue_seconds(self) -> float:
        """For how long it has ignored that it was cut off; 0 while it is in time."""
        ...

    @property
    def waits_for(self) -> Collection[str]:
        """The targets that it waits for."""
        ...

    def stop_waiting(self, holder: str) -> None:
        """End: this execution holds one of the targets, and ignores its deadline."""
        ...

    async def abandon(self, why: str) -> None:
        """Store an end, and leave the code to itself."""
        ...


class Watchdog:
    """Looks at everything under way. Without it Keptn would wait without end for an action that
    ignores its cancellation (docs/keptn.md#k20).
    """

    def __init__(
        self,
        clock: Clock,
        overdue: Overdue,
        locks: TargetLocks,
        *under_way: Callable[[], Iterable[Watched]],
    ) -> None:
        self._clock = clock
        self._overdue = overdue
        self._locks = locks
        self._under_way = under_way

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await self._clock.sleep(WATCH_SECONDS)
            await self.look()

    async def look(self) -> None:
        """Look once."""
        for watched in [each for under_way in self._under_way for each in under_way()]:
            seconds = watched.overdue_seconds
            if seconds > OVERDUE_SECONDS:
                await watched.abandon(
                    f"it still runs {seconds:.0f} s after it was cut off; nobody waits for it"
                )
            elif holder := self._overdue_holder(watched.waits_for):
                watched.stop_waiting(holder)

    def _overdue_holder(self, targets: Collection[str]) -> str | None:
        holders = map(self._locks.holder, targets)
        return next((holder for holder in holders if holder in self._overdue), None)
