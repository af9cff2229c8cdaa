"""Counts that are known to stay below a limit, without counting again."""

from __future__ import annotations

from collections.abc import Hashable

MAX_KNOWN = 10_000


class Bounds:
    """What was counted once, in windows that move on: since then at most what was added came in."""

    def __init__(self) -> None:
        self.added = 0
        self._known: dict[Hashable, tuple[float, int]] = {}

    def is_below(self, limit: int, counted: Hashable, since: float) -> bool:
        """Whether fewer than `limit` can have come since that time."""
        known = self._known.get(counted)
        return known is not None and known[0] <= since and known[1] + self.added < limit

    def note(self, counted: Hashable, since: float, number: int) -> None:
        """Keep what was counted just now."""
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[counted] = since, number - self.added
