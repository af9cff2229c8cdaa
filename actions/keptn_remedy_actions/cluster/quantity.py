"""How many replicas are wished for, and what that comes to."""

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
class Wish:
    """A number to add or to multiply by; a bare one is added, or is the number itself."""

    how: Literal["bare", "add", "multiply"]
    number: Fraction

    def comes_to(self, ordered: int, *, bare_adds: bool) -> int:
        """The replicas wished for, where so many are ordered now; fractions are rounded up."""
        if self.how == "multiply":
            return math.ceil(ordered * self.number)
        if self.how == "add" or bare_adds:
            return ordered + int(self.number)
        return int(self.number)

    def is_zero(self, *, bare_adds: bool) -> bool:
        """Whether none at all are wished for, and not only fewer."""
        return self.number == 0 and not (self.how == "add" or (self.how == "bare" and bare_adds))


@dataclass(frozen=True, slots=True)
class Limits:
    """The least and the most replicas that there may be, and who says so."""

    least: int
    most: int
    least_by: str = ""
    most_by: str = ""

    def clamped(self, wanted: int, ordered: int) -> int:
        """As wanted, within the limits, but never against the direction of the wish."""
        within = min(max(wanted, self.least), self.most)
        if wanted > ordered:
            return max(within, ordered)
        return min(within, ordered) if wanted < ordered else ordered


def read_wish(sent: Any) -> Wish:
    """The wish in a `value`.

    Raises:
        ValueError: it is none, with the reason.
    """
    if isinstance(sent, bool) or sent is None:
        raise ValueError(f"{str(sent).lower()} is no number of replicas; write {EXAMPLES}")
    if isinstance(sent, int | float):
        return _of_number(sent)
    if isinstance(sent, str) and sent.strip():
        return _of_text(sent.strip())
    raise ValueError(f"must say how many replicas: {EXAMPLES}")


def _of_number(sent: float) -> Wish:
    if not math.isfinite(sent) or sent != int(sent):
        raise ValueError(f"{sent} is no whole number of replicas")
    return Wish("add" if sent < 0 else "bare", _sized(Fraction(int(sent))))


def _of_text(text: str) -> Wish:
    if match := _NUMBER.fullmatch(text):
        sign, digits = match.groups()
        return Wish("add" if sign else "bare", _sized(Fraction(f"{sign}{digits}")))
    if match := _FACTOR.fullmatch(text):
        return Wish("multiply", _sized(Fraction(match[1])))
    if match := _PERCENT.fullmatch(text):
        sign, digits = match.groups()
        share = _sized(Fraction(f"{sign}{digits}")) / 100
        return Wish("multiply", max(1 + share, Fraction(0)) if sign else share)
    raise ValueError(f"{text[:40]!r} is no number of replicas; write {EXAMPLES}")


def _sized(number: Fraction) -> Fraction:
    if abs(number) > _LARGEST:
        raise ValueError("that is more than Kubernetes can count")
    return number
