"""Counts that are known to stay below a limit, without counting again."""

from __future__ import annotations

from dataclasses import dataclass
from operator import itemgetter
from typing import Any, Literal

from keptn_remedy.journal.values import Alike, Effect

MAX_KNOWN = 10_000

Counted = tuple[Literal["executions", "effects"], tuple[str | None, ...]]
"""What is counted, and in what that is alike: the values of an `Alike`."""

_COMMON = len(Alike._fields)  # an effect begins with the same


@dataclass(slots=True)
class _Known:
    since: float
    number: int


class Bounds:
    """What was counted once, in windows that move on: with what was added since, it is the most
    that can be in such a window.
    """

    def __init__(self) -> None:
        self._known: dict[Counted, _Known] = {}
        # What finds, for each kind of count, the values that an effect is counted by.
        self._kinds: dict[tuple[Any, ...], itemgetter[Any]] = {}

    def is_below(self, limit: int, counted: Counted, since: float) -> bool:
        """Whether fewer than `limit` can have come since that time."""
        known = self._known.get(counted)
        return known is not None and known.since <= since and known.number < limit

    def note(self, counted: Counted, since: float, number: int) -> None:
        """Keep what was counted just now."""
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[counted] = _Known(since, number)
        what, alike = counted
        places = [_COMMON if value is None else place for place, value in enumerate(alike)]
        self._kinds[what, *places] = itemgetter(*places)

    def add(self, effect: Effect) -> None:
        """Let it count wherever it belongs."""
        values = (*effect[:_COMMON], None)
        for (what, *_), alike_of in self._kinds.items():
            if known := self._known.get((what, alike_of(values))):
                known.number += 1
