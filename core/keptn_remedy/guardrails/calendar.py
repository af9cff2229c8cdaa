"""When acting is allowed: hours of the week and blackouts, by local clocks."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_MINUTES_OF_DAY = 24 * 60
_HORIZON_SECONDS = 366 * 86_400
_STEPS = 1_000
# Setting clocks forward can skip a weekly hour, which then comes a week later.
_DAYS_AHEAD = 16


@dataclass(frozen=True, slots=True)
class Window:
    """Hours in which acting is allowed, from `start` to before `end`, in minutes of the day.

    It lasts past midnight where `end` is before `start`. `days` are those on which it begins; 0 is
    Monday.
    """

    days: frozenset[int]
    start: int
    end: int
    zone: ZoneInfo

    @classmethod
    def of(cls, days: Sequence[str], start: int, end: int, zone: ZoneInfo) -> Window:
        return cls(frozenset(map(DAYS.index, days)), start, end, zone)

    def contains(self, now: float) -> bool:
        """Whether it is open at a Unix time in seconds."""
        local = datetime.fromtimestamp(now, self.zone)
        minute, today = local.hour * 60 + local.minute, local.weekday() in self.days
        if self.start < self.end:
            return today and self.start <= minute < self.end
        yesterday = (local.weekday() - 1) % 7 in self.days
        return (today and minute >= self.start) or (yesterday and minute < self.end)

    def opening(self, after: float) -> float | None:
        """When a closed window opens next, as a Unix time; None: not within two weeks."""
        today = datetime.fromtimestamp(after, self.zone).date()
        for day in (today + timedelta(days=n) for n in range(_DAYS_AHEAD)):
            start = datetime.combine(day, time(*divmod(self.start, 60)))
            moments = (*_timestamps(start, self.zone), *_clock_change(day, self.zone))
            opens = [t for t in moments if t > after and self.contains(t)]
            if opens:
                return min(opens)
        return None

    def __str__(self) -> str:
        return f"{_days(self.days)} {_clock(self.start)}-{_clock(self.end)} {self.zone.key}"


@dataclass(frozen=True, slots=True)
class Blackout:
    """A time in which nothing may act, from `start` to before `end`, as Unix times."""

    start: float
    end: float
    zone: ZoneInfo
    reason: str | None

    @classmethod
    def of(cls, start: datetime, end: datetime, zone: ZoneInfo, reason: str | None) -> Blackout:
        """Between two local times; the longer time where clocks are set back at one of them."""
        return cls(min(_timestamps(start, zone)), max(_timestamps(end, zone)), zone, reason)

    def contains(self, now: float) -> bool:
        return self.start <= now < self.end

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        return f"{_local(self.start, self.zone)} to {_local(self.end, self.zone)}{reason}"


def closed(windows: Sequence[Window], blackouts: Sequence[Blackout], now: float) -> str | None:
    """Why nothing may act now, and when it may again; None: acting is allowed."""
    blackout = next((b for b in blackouts if b.contains(now)), None)
    if blackout:
        reason = f" ({blackout.reason})" if blackout.reason else ""
        return f"blackout{reason}; {_again(windows, blackouts, now, blackout.zone)}"
    if not windows or any(window.contains(now) for window in windows):
        return None
    allowed, zone = ", ".join(map(str, windows)), windows[0].zone
    when = _local(now, zone)
    return f"it is {when}, outside {allowed}; {_again(windows, blackouts, now, zone)}"


def _again(
    windows: Sequence[Window], blackouts: Sequence[Blackout], now: float, zone: ZoneInfo
) -> str:
    moment = next_opening(windows, blackouts, now)
    if moment is None:
        return "not allowed again within a year"
    return f"allowed again from {_local(moment, zone)}"


def next_opening(
    windows: Sequence[Window], blackouts: Sequence[Blackout], now: float
) -> float | None:
    """When acting is allowed, from `now` on, as a Unix time; None: not within a year."""
    moment = now
    for _ in range(_STEPS):
        if moment > now + _HORIZON_SECONDS:
            return None
        ends = [blackout.end for blackout in blackouts if blackout.contains(moment)]
        if ends:
            moment = max(ends)
        elif not windows or any(window.contains(moment) for window in windows):
            return moment
        else:
            opens = [window.opening(moment) for window in windows]
            moment = min((t for t in opens if t is not None), default=math.inf)
    return None


def _timestamps(wall: datetime, zone: ZoneInfo) -> tuple[float, float]:
    """The Unix times at which local clocks show it: twice the same, but where clocks change.

    Two different ones where clocks are set back, and those around the gap where they are set
    forward.
    """
    early, late = (wall.replace(tzinfo=zone, fold=fold).timestamp() for fold in (0, 1))
    return early, late


def _clock_change(day: date, zone: ZoneInfo) -> Iterator[float]:
    """The Unix time at which clocks change on that day, if they do."""
    midnights = (datetime.combine(day + timedelta(days=n), time(), zone) for n in (0, 1))
    first, last = (int(midnight.timestamp()) for midnight in midnights)
    before = _offset(first, zone)
    if before != _offset(last, zone):
        moments = range(first, last + 1)
        yield float(moments[bisect_left(moments, True, key=lambda t: _offset(t, zone) != before)])


def _offset(moment: float, zone: ZoneInfo) -> timedelta | None:
    return datetime.fromtimestamp(moment, zone).utcoffset()


def _days(days: frozenset[int]) -> str:
    if len(days) == len(DAYS):
        return "daily"
    ordered = sorted(days)
    if len(ordered) > 2 and ordered[-1] - ordered[0] == len(ordered) - 1:
        return f"{DAYS[ordered[0]]}-{DAYS[ordered[-1]]}"
    return " ".join(DAYS[day] for day in ordered)


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"


def _local(moment: float, zone: ZoneInfo) -> str:
    return f"{datetime.fromtimestamp(moment, zone):%a %Y-%m-%d %H:%M} {zone.key}"
