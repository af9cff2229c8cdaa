"""The clock, passed in so that tests can replace it; one that no change moves; and time limits."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from heapq import heappop, heappush
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self, cast

# What a leap second, or a clock that is corrected slowly, stays below.
STEP_SECONDS = 2.0
# How late a limit may be that shares its timer, and from which length on one does.
SHARED_SECONDS, EXACT_SECONDS = 0.25, 5.0
MOST_SECONDS = 100 * 365 * 86_400.0
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class Reading(NamedTuple):
    """What the clocks said at one moment: Unix time, the monotonic clock, and by how much the wall
    clock was ahead of that Unix time, all in seconds.

    `boot` names the start of the machine that the monotonic clock counts from, as far as processes
    can compare it; empty where they can't.
    """

    boot: str
    monotonic: float
    now: float
    wall_ahead: float = 0.0


class Clock:
    """The system's clock."""

    def now(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that only grow, to measure durations."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        """Wait until the event is set, for `seconds` at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await event.wait()

    def utc(self) -> datetime:
        """What the wall clock says, in UTC."""
        return datetime.fromtimestamp(self.now(), UTC)

    @property
    def wall_ahead(self) -> float:
        """By how many seconds the wall clock is ahead of `now`."""
        return 0.0

    def reading(self) -> Reading:
        """What the clocks say, to be compared with what they say to a later process."""
        return Reading(_boot_id(), self.monotonic(), self.now(), self.wall_ahead)


class TimeLimits:
    """Time limits of code in one event loop. Those of many seconds share the loop's timers, and may
    be up to `SHARED_SECONDS` late: thousands run at once, and hardly one is ever exceeded.
    """

    def __init__(self) -> None:
        # By when they are due, as a number of `SHARED_SECONDS`; and these numbers as a heap.
        self._due: dict[int, set[TimeLimit]] = {}
        self._moments: list[int] = []
        self._timer: asyncio.TimerHandle | None = None

    def of(self, seconds: float) -> TimeLimit:
        """A limit that begins now. It holds for what is done in its context, by this task."""
        loop = asyncio.get_running_loop()
        if seconds < EXACT_SECONDS:
            return TimeLimit(loop, seconds)
        moment = int((loop.time() + min(seconds, MOST_SECONDS)) / SHARED_SECONDS) + 1
        due = self._due.get(moment)
        if due is None:
            due = self._due[moment] = set()
            heappush(self._moments, moment)
            if self._moments[0] == moment:
                self._wake_at(moment, loop)
        limit = TimeLimit(due)
        due.add(limit)
        return limit

    def _wake_at(self, moment: int, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = loop.call_at(moment * SHARED_SECONDS, self._look)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        while self._moments and self._moments[0] * SHARED_SECONDS <= loop.time():
            for limit in self._due.pop(heappop(self._moments)):
                limit.expire()
        self._timer = None
        if self._moments:
            self._wake_at(self._moments[0], loop)


class TimeLimit:
    """A time limit, as a context of the task that it cancels. It begins when it is made: one of
    those that are `due` together, or with a timer of its own in this loop.

    As `asyncio.timeout`: it raises TimeoutError in the place of its own cancellation alone.
    """

    __slots__ = ("_cancelling", "_due", "_task", "_timer", "has_expired")

    def __init__(
        self, due: set[TimeLimit] | asyncio.AbstractEventLoop, seconds: float = 0.0
    ) -> None:
        self._task = cast("asyncio.Task[object]", asyncio.current_task())
        self._cancelling = self._task.cancelling()
        self._due = due if isinstance(due, set) else None
        self._timer = None if isinstance(due, set) else due.call_later(seconds, self.expire)
        self.has_expired = False

    def expire(self) -> None:
        """Cut the code off."""
        self.has_expired = True
        self._task.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._timer:
            self._timer.cancel()
        elif self._due is not None:
            self._due.discard(self)
        if not self.has_expired:
            return
        is_alone = self._task.uncancel() <= self._cancelling
        if is_alone and isinstance(error, asyncio.CancelledError):
            raise TimeoutError from error


class SteadyClock(Clock):
    """Begins with the time of another clock, and goes on by its monotonic one: whatever the wall
    clock is set to meanwhile, `now()` neither jumps nor stops. `utc()` remains the wall clock's.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.now() - clock.monotonic()
        self._last_ahead = 0.0
        self._goes_ahead = 0.0

    def go_ahead(self, seconds: float) -> None:
        """Go by a clock that is so much ahead of this machine's. Once, before anything is timed."""
        self._goes_ahead = seconds
        self._began += seconds

    def now(self) -> float:
        return self._began + self._clock.monotonic()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        await self._clock.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        await self._clock.wait(event, seconds)

    def utc(self) -> datetime:
        return self._clock.utc()

    @property
    def wall_ahead(self) -> float:
        return _if_step(self._clock.now() + self._goes_ahead - self.now())

    def step(self) -> float:
        """By how many seconds the wall clock was set forward since this was asked last; negative:
        back; 0: it was not.
        """
        before, self._last_ahead = (
            self._last_ahead,
            self._clock.now() + self._goes_ahead - self.now(),
        )
        return _if_step(self._last_ahead - before)


@dataclass(frozen=True, slots=True)
class Gap:
    """The time between the last reading of a steady clock and the first of the next one.

    `ahead`: by how many seconds the next one began ahead of the last; negative: behind. `step`: as
    much of it as nobody noticed before. `unknown`: how many seconds have passed if the wall clock
    is to be believed, where nothing else can tell.
    """

    ahead: float = 0.0
    step: float = 0.0
    unknown: float = 0.0

    @classmethod
    def between(cls, earlier: Reading, later: Reading) -> Gap:
        """What two readings tell of the time between them."""
        elapsed, unknown = later.monotonic - earlier.monotonic, 0.0
        if earlier.boot != later.boot or not later.boot or elapsed < 0:
            by_wall = later.now - earlier.now - earlier.wall_ahead
            elapsed = unknown = max(0.0, by_wall)
        ahead = later.now - earlier.now - elapsed
        step = ahead - earlier.wall_ahead
        return cls(_if_step(ahead), _if_step(step), unknown)


def _if_step(seconds: float) -> float:
    return seconds if abs(seconds) >= STEP_SECONDS else 0.0


@cache
def _boot_id() -> str:
    with suppress(OSError):
        return _BOOT_ID.read_text().strip()
    return ""
