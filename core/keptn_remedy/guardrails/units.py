"""The notations of a policy: durations, steps, amounts, times of day and dates."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from typing import Any, Literal

MINUTES_OF_DAY = 24 * 60
LONGEST_SECONDS = 366 * 86_400.0
DURATION = r"^(?=[0-9])([0-9]{1,9}d)?([0-9]{1,9}h)?([0-9]{1,9}m)?([0-9]{1,9}s)?$"
POSITIVE = DURATION.replace("^", "^(?=.*[1-9])")
STEP = r"^(x[0-9]{1,6}(\.[0-9]{1,3})?|\+?[0-9]{1,6}(\.[0-9]{1,3})?%)$"
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
AMOUNT = r"^(?=[0-9.]*[1-9])[0-9]{1,19}(\.[0-9]{1,9})?([numkMGTPE]|[KMGTPE]i|[eE][+-]?[0-9]{1,2})?$"
TIME_OF_DAY = r"^(([01]?[0-9]|2[0-3]):[0-5][0-9]|24:00)$"
MOMENT = r"^2[01][0-9]{2}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2})?)?$"

_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_SIZES = {
    "": Fraction(1),
    **{suffix: Fraction(1, 1000**n) for n, suffix in enumerate("mun", 1)},
    **{suffix: Fraction(1000**n) for n, suffix in enumerate("kMGTPE", 1)},
    **{f"{suffix}i": Fraction(1024**n) for n, suffix in enumerate("KMGTPE", 1)},
}


@dataclass(frozen=True, slots=True)
class Step:
    """How far one execution may change the number of replicas, or the size of a container, up or
    down.
    """

    kind: Literal["times", "percent", "replicas"]
    amount: float

    def bounds(self, before: int) -> tuple[int, int]:
        """The fewest and the most replicas allowed after `before`.

        One replica is always allowed, or a small workload could never be scaled.
        """
        if self.kind == "times":
            least, most = before / self.amount, before * self.amount
        else:
            share = self.amount if self.kind == "replicas" else before * self.amount / 100
            least, most = before - share, before + share
        return max(0, min(math.ceil(least), before - 1)), max(math.floor(most), before + 1)

    def amounts(self, before: Fraction, grain: Fraction) -> tuple[Fraction, Fraction]:
        """The least and the most CPU or memory allowed after `before`, by whole grains."""
        by = Fraction(str(self.amount))
        least, most = (
            (before / by, before * by)
            if self.kind == "times"
            else (before * (1 - by / 100), before * (1 + by / 100))
        )
        return math.floor(least / grain) * grain, math.ceil(most / grain) * grain

    def __str__(self) -> str:
        if self.kind == "times":
            return f"x{self.amount:g}"
        return f"{self.amount:g}%" if self.kind == "percent" else f"{self.amount:g}"


@dataclass(frozen=True, slots=True)
class Amount:
    """An amount of CPU or memory, and how it was written."""

    number: Fraction
    written: str

    def __str__(self) -> str:
        return self.written


def seconds(written: Any) -> float:
    """A duration in seconds, from `90s`, `15m`, `1h30m`, `2d`, or a number of seconds.

    Raises:
        ValueError: it is not a duration from 0 to 366d.
    """
    if isinstance(written, str) and re.fullmatch(DURATION, written):
        length = float(sum(int(n) * _UNITS[u] for n, u in re.findall(r"(\d+)([dhms])", written)))
    elif isinstance(written, int | float) and not isinstance(written, bool):
        length = float(written)
    else:
        raise ValueError("must be a duration: 90s, 15m, 1h30m, 2d, or a number of seconds")
    if not 0 <= length <= LONGEST_SECONDS:
        raise ValueError("must be a duration from 0 to 366d")
    return length


def in_words(length: float) -> str:
    """A duration in seconds, as a policy writes it."""
    parts: list[str] = []
    for unit, size in _UNITS.items():
        whole, length = divmod(length, size)
        parts += [f"{whole:g}{unit}"] if whole else []
    if length:  # a fraction of a second
        return " ".join([*parts, f"{length:.3g}s"])
    return "".join(parts) or "0s"


def spoken(length: float) -> str:
    """A duration in seconds for people: `1 h 5 min`; times under a second count as 0."""
    parts: list[str] = []
    for unit, size in _UNITS.items():
        whole, length = divmod(length, size)
        parts += [f"{whole:g} {'min' if unit == 'm' else unit}"] if whole else []
    return " ".join(parts) or "0 s"


def counted(number: int, what: str) -> str:
    """A number and its noun, with an `s` unless it is one."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def more_than_zero(length: float) -> float:
    """The duration itself.

    Raises:
        ValueError: it is 0.
    """
    if length <= 0:
        raise ValueError("must be longer than 0")
    return length


def amount(written: Any) -> Amount:
    """An amount of CPU or memory, from `500m`, `1.5`, `2Gi`, or a number.

    Raises:
        ValueError: it is not an amount.
    """
    text = str(written)
    match = None if isinstance(written, bool) else re.fullmatch(AMOUNT, text)
    if match is None:
        raise ValueError("must be an amount of more than 0, as Kubernetes writes it: 500m, 2, 1Gi")
    suffix = match[2] or ""
    if suffix[1:].lstrip("+-").isdecimal():  # a power of ten, such as 1e3
        return Amount(Fraction(text), text)
    return Amount(Fraction(text.removesuffix(suffix)) * _SIZES[suffix], text)


def size_step(written: Any) -> Step:
    """A step of CPU or memory, from `x2` or `+30%`.

    Raises:
        ValueError: it is not one.
    """
    if not isinstance(written, str) or not re.fullmatch(STEP, written):
        raise ValueError('must be a step: x2, "+30%" or 30%')
    return step(written)


def step(written: Any) -> Step:
    """A step, from `x2`, `50%`, `+50%`, or a number of replicas.

    Raises:
        ValueError: it is not a step.
    """
    made = _step(written)
    if made is None:
        raise ValueError("must be a step: x2, 50%, or a whole number of replicas, 1 or more")
    if made.kind == "times" and made.amount <= 1:
        raise ValueError("must be more than x1")
    if made.amount <= 0:
        raise ValueError("must be more than 0")
    return made


def _step(written: Any) -> Step | None:
    if isinstance(written, int) and not isinstance(written, bool):
        return Step("replicas", float(min(written, 1_000_000)))
    if not isinstance(written, str) or not re.fullmatch(STEP, written):
        return None
    if written.startswith("x"):
        return Step("times", float(written[1:]))
    return Step("percent", float(written[:-1]))


def minute_of_day(written: Any) -> int:
    """Minutes since midnight, from `00:00` to `24:00`.

    Raises:
        ValueError: it is not a time of day.
    """
    if not isinstance(written, str) or not re.fullmatch(TIME_OF_DAY, written):
        raise ValueError('must be a time of day, such as "08:00"; "24:00" ends a day')
    hours, minutes = written.split(":")
    return int(hours) * 60 + int(minutes)


@dataclass(frozen=True, slots=True)
class Moment:
    """The start or end of a blackout: a local date, or a local date and time."""

    wall: datetime
    is_date: bool

    @property
    def start(self) -> datetime:
        return self.wall

    @property
    def end(self) -> datetime:
        """The first moment after the blackout: a date is included, a time is not."""
        return self.wall + timedelta(days=1) if self.is_date else self.wall

    def __str__(self) -> str:
        return f"{self.wall:%Y-%m-%d}" if self.is_date else f"{self.wall:%Y-%m-%d %H:%M}"


def moment(written: Any) -> Moment:
    """A moment, from a date `2026-12-23` or a date and time `2026-12-23T18:00`.

    Raises:
        ValueError: it is neither.
    """
    mistake = "must be a date, 2026-12-23, or a date and time, 2026-12-23T18:00"
    if not isinstance(written, str) or not re.fullmatch(MOMENT, written):
        raise ValueError(mistake)
    try:
        if len(written) == len("2026-12-23"):
            return Moment(datetime.combine(date.fromisoformat(written), time()), is_date=True)
        return Moment(datetime.fromisoformat(written), is_date=False)
    except ValueError as error:
        raise ValueError(f"{mistake}: {error}") from None
