"""The number of replicas that a `value` asks for, absolute or relative."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

EXAMPLES = '5, "+2", "-1", "x2", "150%" or "+50%"'
_LARGEST = 2**31 - 1  # replicas are an int32
_NUMBER = re.compile(r"([+-]?)([0-9]{1,10})(?:\.0+)?")
_FACTOR = re.compile(r"[xX]([0-9]{1,10}(?:\.[0-9]{1,6})?)")
_PERCENT = re.compile(r"([+-]?)([0-9]{1,10}(?:\.[0-9]{1,6})?)\s?%")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number to add or to multiply by. A bare one is absolute, or is added: see `bare_adds`."""

    how: Literal["bare", "add", "multiply"]
    number: Fraction

    def of(self, ordered: int, *, bare_adds: bool) -> int:
        """The replicas asked for. Relative values are computed from the desired replica count.

        Fractions are rounded up.
        """
        if self.how == "multiply":
            return math.ceil(ordered * self.number)
        if self.how == "add" or bare_adds:
            return ordered + int(self.number)
        return int(self.number)

    def is_zero(self, *, bare_adds: bool) -> bool:
        """Whether it asks for 0 replicas, not only for fewer."""
        return self.number == 0 and not (self.how == "add" or (self.how == "bare" and bare_adds))


@dataclass(frozen=True, slots=True)
class Limits:
    """The least and the most replicas allowed, and by which setting, in words."""

    least: int
    most: int
    least_by: str = ""
    most_by: str = ""

    def clamped(self, wanted: int, ordered: int) -> int:
        """The number within the limits. It never moves against the direction asked for."""
        within = min(max(wanted, self.least), self.most)
        if wanted > ordered:
            return max(within, ordered)
        return min(within, ordered) if wanted < ordered else ordered


def read_quantity(sent: Any) -> Quantity:
    """Parse the number of replicas in a `value`.

    Raises:
        ValueError: it is not a number of replicas; says why.
    """
    if isinstance(sent, bool) or sent is None:
        raise ValueError(f"{str(sent).lower()} is not a number of replicas; write {EXAMPLES}")
    if isinstance(sent, int | float):
        return _of_number(sent)
    if isinstance(sent, str) and sent.strip():
        return _of_text(sent.strip())
    raise ValueError(f"must give the number of replicas: {EXAMPLES}")


def as_increment(sent: Any) -> Any:
    """What was sent, with a bare number made one to add."""
    text = str(sent).strip()
    is_bare = not isinstance(sent, bool) and text[:1].isdecimal() and _NUMBER.fullmatch(text)
    return f"+{text}" if is_bare else sent


def _of_number(sent: float) -> Quantity:
    if not math.isfinite(sent) or sent != int(sent):
        raise ValueError(f"{sent} is not a whole number of replicas")
    return Quantity("add" if sent < 0 else "bare", _sized(Fraction(int(sent))))


def _of_text(text: str) -> Quantity:
    if match := _NUMBER.fullmatch(text):
        sign, digits = match.groups()
        return Quantity("add" if sign else "bare", _sized(Fraction(f"{sign}{digits}")))
    if match := _FACTOR.fullmatch(text):
        return Quantity("multiply", _sized(Fraction(match[1])))
    if match := _PERCENT.fullmatch(text):
        sign, digits = match.groups()
        share = _sized(Fraction(f"{sign}{digits}")) / 100
        return Quantity("multiply", max(1 + share, Fraction(0)) if sign else share)
    raise ValueError(f"{text[:40]!r} is not a number of replicas; write {EXAMPLES}")


def _sized(number: Fraction) -> Fraction:
    if abs(number) > _LARGEST:
        raise ValueError(f"must not be more than {_LARGEST}")
    return number
