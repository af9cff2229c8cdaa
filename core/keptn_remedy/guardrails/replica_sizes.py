"""How many replicas a plan would scale to, and which limit of the rules that breaks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from keptn_remedy.action import Change
from keptn_remedy.guardrails.matching import Resolved
from keptn_remedy.guardrails.units import Step, counted


class Size(NamedTuple):
    """Replicas before and after; None where the number before is unknown."""

    before: int | None
    after: int

    def __str__(self) -> str:
        before = "an unknown number" if self.before is None else str(self.before)
        return f"from {before} to {counted(self.after, 'replica')}"


class BrokenLimit(NamedTuple):
    """The setting that doesn't allow a size, and the limit that it sets, in words."""

    setting: str
    limit: str


def sizes(changes: Sequence[Change], replicas: tuple[int, int] | None) -> list[Size]:
    """The sizes of one target: the plan's `replicas`, else what its changes say."""
    if replicas:
        return [Size(*replicas)]
    found: list[Size] = []
    for change in changes:
        after = _whole(change.after)
        if "replica" in change.field.partition(" ")[0].lower() and after is not None:
            found.append(Size(_whole(change.before), after))
    return found


def broken_limit(rules: Resolved, size: Size) -> BrokenLimit | None:
    """The first limit that the size breaks. Limits hold in their direction only.

    A workload above `replicas_at_most` may scale down, and one below `replicas_at_least` up. With
    an unknown number before, both limits apply.
    """
    before, after = size
    if after == before:
        return None
    most, least, step = rules.replicas_at_most, rules.replicas_at_least, rules.replicas_step
    grows, shrinks = before is None or after > before, before is None or after < before
    if after == 0 and not rules.zero_replicas:
        return BrokenLimit("zero_replicas", "0 are not allowed")
    if most is not None and grows and after > most:
        return BrokenLimit("replicas_at_most", f"at most {most}")
    if least is not None and shrinks and after < least and not _is_wanted_zero(rules, after):
        return BrokenLimit("replicas_at_least", f"at least {least}")
    if not _is_in_step(step, before, after):
        return BrokenLimit("replicas_step", f"a step of at most {step}")
    return None


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _is_wanted_zero(rules: Resolved, after: int) -> bool:
    """Whether a rule of the policy allows 0, which `replicas_at_least` then doesn't forbid."""
    return after == 0 and rules.zero_replicas and "zero_replicas" in rules.set_by


def _is_in_step(step: Step | None, before: int | None, after: int) -> bool:
    if step is None or before is None:
        return True
    fewest, most = step.bounds(before)
    return fewest <= after <= most
