"""Amounts of CPU and memory: as Kubernetes writes them, and as a `value` asks for them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

Resource = Literal["cpu", "memory"]
EXAMPLES = '"512Mi", "500m", "+128Mi", "x2", "150%" or "+30%"'
MILLI = Fraction(1, 1000)
MEBI = 1024**2
_BINARY = {suffix: 1024**n for n, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)}
_DECIMAL = {suffix: 1000**n for n, suffix in enumerate(("k", "M", "G", "T", "P", "E"), 1)}
_SIZES: dict[str, Fraction] = {
    "": Fraction(1),
    "n": MILLI**3,
    "u": MILLI**2,
    "m": MILLI,
    **{suffix: Fraction(size) for suffix, size in (_BINARY | _DECIMAL).items()},
}
# https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
_QUANTITY = re.compile(
    r"(?P<number>[0-9]{1,19}(\.[0-9]{1,9})?)"
    r"(?P<suffix>[numkMGTPE]|[KMGTPE]i)?(?P<power>[eE][+-]?[0-9]{1,2})?"
)
_FACTOR = re.compile(r"[xX]([0-9]{1,6}(?:\.[0-9]{1,6})?)")
_PERCENT = re.compile(r"([+-]?)([0-9]{1,6}(?:\.[0-9]{1,6})?)\s?%")
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Amount:
    """What is asked for: an amount, or one to add or to multiply by."""

    how: Literal["be", "add", "multiply"]
    number: Fraction

    @property
    def is_relative(self) -> bool:
        return self.how != "be"

    def of(self, before: Fraction, grain: Fraction) -> Fraction:
        """The amount asked for; a relative one is rounded up to whole grains."""
        if self.how == "be":
            return self.number
        made = before * self.number if self.how == "multiply" else before + self.number
        return math.ceil(made / grain) * grain


def grain_of(resource: Resource, before: Fraction) -> Fraction:
    """What relative amounts are rounded to: 1m of CPU, 1Mi of memory if there is as much."""
    if resource == "cpu":
        return MILLI
    return Fraction(MEBI if before >= MEBI else 1)


def parsed(text: Any) -> Fraction:
    """An amount as Kubernetes or a person writes it: `500m`, `1.5`, `256Mi`, `1e3`.

    Raises:
        ValueError: it is none, or too large for Kubernetes.
    """
    match = _QUANTITY.fullmatch(str(text))
    if not match or (match["suffix"] and match["power"]):
        raise ValueError(f"{str(text)[:40]!r} is not an amount; write {EXAMPLES}")
    power = Fraction(10) ** int((match["power"] or "e0")[1:])
    amount = Fraction(match["number"]) * _SIZES[match["suffix"] or ""] * power
    if amount > _LARGEST:
        raise ValueError(f"{str(text)[:40]!r} is too large")
    return amount


def written(resource: Resource, amount: Fraction) -> str:
    """The amount in the one form that the API server stores."""
    if resource == "cpu":
        milli = math.ceil(amount * 1000)
        return f"{milli}m" if milli % 1000 else _with_suffix(milli // 1000, _DECIMAL)
    whole = math.ceil(amount)
    return _with_suffix(whole, _DECIMAL if whole % 1024 else _BINARY)


def read_amount(sent: Any) -> Amount:
    """Parse what a `value` asks for.

    Raises:
        ValueError: it is no amount; says why.
    """
    if isinstance(sent, bool) or not isinstance(sent, int | float | str):
        raise ValueError(f"{str(sent)[:40].lower()} is not an amount; write {EXAMPLES}")  # noqa: TRY004
    made = _read(str(sent).strip())
    if made.number == 0 or (made.how == "multiply" and made.number < 0):
        raise ValueError("must leave more than 0")
    return made


def _read(text: str) -> Amount:
    if match := _FACTOR.fullmatch(text):
        return Amount("multiply", Fraction(match[1]))
    if match := _PERCENT.fullmatch(text):
        share = Fraction(match[2]) / 100
        signed = {"+": 1 + share, "-": 1 - share, "": share}[match[1]]
        return Amount("multiply", signed)
    if text[:1] in ("+", "-"):
        return Amount("add", parsed(text[1:]) * (-1 if text[0] == "-" else 1))
    return Amount("be", parsed(text))


def _with_suffix(whole: int, sizes: dict[str, int]) -> str:
    for suffix, size in reversed(sizes.items()):
        if whole and whole % size == 0:
            return f"{whole // size}{suffix}"
    return str(whole)
