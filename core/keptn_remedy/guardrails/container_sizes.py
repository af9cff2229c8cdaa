"""How much CPU and memory a plan would give containers, and which limit of the rules it breaks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from keptn_remedy.action import Change
from keptn_remedy.guardrails.matching import Resolved
from keptn_remedy.guardrails.units import Amount, Step, amount

_MILLI, _MEBI = Fraction(1, 1000), Fraction(1024**2)


class BrokenSize(NamedTuple):
    """The change that a setting doesn't allow, and the limit that it sets, in words."""

    change: Change
    setting: str
    limit: str


def broken_limit(rules: Resolved, changes: Sequence[Change]) -> BrokenSize | None:
    """The first limit that a change breaks: one of a field that begins with `cpu` or `memory`.

    A container above the most may shrink. What an amount was before may be unknown: then only the
    most applies.
    """
    limits: Mapping[str, tuple[Amount | None, Step | None]] = {
        "cpu": (rules.cpu_at_most, rules.cpu_step),
        "memory": (rules.memory_at_most, rules.memory_step),
    }
    for change in changes:
        resource = change.field.partition(" ")[0]
        most, step = limits.get(resource, (None, None))
        if change.after is None or not (most or step):
            continue
        after = _amount(change.after)
        if after is None:
            setting = f"{resource}_at_most" if most else f"{resource}_step"
            return BrokenSize(change, setting, "an amount that can be read")
        before = _amount(change.before)
        if most and after > most.number and (before is None or after > before):
            return BrokenSize(change, f"{resource}_at_most", f"at most {most}")
        if step and before and not _is_in_step(step, resource, before, after):
            return BrokenSize(change, f"{resource}_step", f"a step of at most {step}")
    return None


def _is_in_step(step: Step, resource: str, before: Fraction, after: Fraction) -> bool:
    """Whether it is; `resize` rounds to 1m of CPU and to 1Mi of memory."""
    grain = _MILLI if resource == "cpu" else (_MEBI if before >= _MEBI else Fraction(1))
    least, most = step.amounts(before, grain)
    return least <= after <= most


def _amount(value: object) -> Fraction | None:
    try:
        return amount(value).number
    except ValueError:
        return None
