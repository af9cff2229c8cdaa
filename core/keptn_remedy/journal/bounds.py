"""Counts that are known to stay below a limit, without counting again."""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from keptn_remedy.journal.values import Alike, Effect

MAX_KNOWN = 10_000

Counted = tuple[Literal["executions", "effects"], Alike]
"""What is counted, and in what that is alike."""


@dataclass(slots=True)
class _Known:
    since: float
    number: int


@dataclass(slots=True)
class _Kind:
    """Counts that go by the same attributes, by the values that these have."""

    values_of: attrgetter[Any]
    known: dict[Any, _Known] = field(default_factory=dict[Any, _Known])


class Bounds:
    """What was counted once, in windows that move on: with what was added since, it is the most
    that can be in such a window.
    """

    def __init__(self) -> None:
        self._known: dict[Counted, _Known] = {}
        # The same once more, for those who look from an effect.
        self._kinds: dict[tuple[str, tuple[str, ...]], _Kind] = {}

    def is_below(self, limit: int, counted: Counted, since: float) -> bool:
        """Whether fewer than `limit` can have come since that time."""
        known = self._known.get(counted)
        return known is not None and known.since <= since and known.number < limit

    def note(self, counted: Counted, since: float, number: int) -> None:
        """Keep what was counted just now."""
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
            self._kinds.clear()
        what, alike = counted
        names = tuple(name for name, value in alike._asdict().items() if value is not None)
        kind = self._kinds.setdefault((what, names), _Kind(attrgetter(*names)))
        self._known[counted] = kind.known[kind.values_of(alike)] = _Known(since, number)

    def add(self, effect: Effect) -> None:
        """Let it count wherever it belongs."""
        for kind in self._kinds.values():
            if known := kind.known.get(kind.values_of(effect)):
                known.number += 1
