"""Counts that are known to stay below a limit, without counting again."""

from __future__ import annotations

from dataclasses import dataclass

from keptn_remedy.journal.foreseen import NOTHING_FORESEEN, Counted, Foreseen

MAX_KNOWN = 10_000


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
        self._foreseen = NOTHING_FORESEEN

    def begin(self, foreseen: Foreseen) -> None:
        """An admission comes. What is counted in other kinds may have missed what was added."""
        kinds = self._foreseen.kinds
        if foreseen.kinds is not kinds and foreseen.kinds != kinds:
            self._known.clear()
        self._foreseen = foreseen

    def is_below(self, limit: int, counted: Counted, since: float) -> bool:
        """Whether fewer than `limit` can have come since that time."""
        known = self._known.get(counted)
        return known is not None and known.since <= since and known.number < limit

    def note(self, counted: Counted, since: float, number: int) -> None:
        """Keep what was counted just now, if what is added to it will be told."""
        if counted not in self._foreseen.counted_in:
            return
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[counted] = _Known(since, number)

    def add(self, counted_in: tuple[Counted, ...]) -> None:
        """Let what was admitted count in all of these."""
        for counted in counted_in:
            if known := self._known.get(counted):
                known.number += 1


class NoBounds(Bounds):
    """Nothing is known beforehand: others add to what is counted, too."""

    def note(self, counted: Counted, since: float, number: int) -> None:
        """It may be more by now."""


NO_BOUNDS = NoBounds()
