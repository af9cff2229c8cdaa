"""How many services a stage has: fetched from Keptn and cached for a while."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

FRESH_SECONDS = 300.0
ASK_AGAIN_SECONDS = 30.0
MOST_STAGES = 1_000


class StageSizes:
    """Caches the numbers. While Keptn can't be reached, the last known number stays valid."""

    def __init__(self, ask: Callable[[str, str], Awaitable[int | None]], clock: Clock) -> None:
        self._ask = ask
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[int | None, float]] = {}

    async def of(self, project: str, stage: str) -> int | None:
        """The number of services; None while Keptn never answered."""
        known, until = self._known.get((project, stage), (None, 0.0))
        if self._clock.monotonic() < until:
            return known
        answer = await self._ask(project, stage)
        fresh = FRESH_SECONDS if answer is not None else ASK_AGAIN_SECONDS
        if len(self._known) >= MOST_STAGES:
            self._known.clear()
        size = known if answer is None else answer
        if size is None:
            logs.logger().warning(
                "storm.percent refuses nothing: the number of services of the stage is unknown",
                project=project,
                stage=stage,
            )
        self._known[project, stage] = size, self._clock.monotonic() + fresh
        return size
