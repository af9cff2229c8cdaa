"""How many notifications a channel is sent a minute, and when many become one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

WINDOW_SECONDS = 60.0
# A storm is let grow for so long, so that one summary tells of all of it.
GATHER_SECONDS = 5.0


class Turn(NamedTuple):
    """How many of those that wait go now, each alone or all as a summary; or how long to wait."""

    most: int = 0
    is_summary: bool = False
    wait_seconds: float = 0.0


class Pace:
    """At most so many in a window. What is more goes as one summary, once in a window."""

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._began = 0.0
        self._used = 0
        self._crowded_since: float | None = None

    def turn(self, waiting: Sequence[float], now: float) -> Turn:
        """What may be sent now, where these wait, each since a time; by the monotonic clock."""
        if now - self._began >= WINDOW_SECONDS:
            self._began, self._used = now, 0
        room = self._at_most - self._used
        if not waiting:
            self._crowded_since = None
            return Turn()
        if len(waiting) <= room and self._crowded_since is None:
            return Turn(len(waiting))
        if self._crowded_since is None:
            self._crowded_since = now
        ready_at = self._crowded_since + GATHER_SECONDS
        if room <= 0:
            ready_at = max(ready_at, self._began + WINDOW_SECONDS)
        if now < ready_at:
            return Turn(wait_seconds=ready_at - now)
        return Turn(len(waiting), is_summary=len(waiting) > 1)

    def note_sent(self, *, is_summary: bool) -> None:
        """One was sent. After a summary nothing more is, in this window."""
        self._used = self._at_most if is_summary else self._used + 1
        if is_summary:
            self._crowded_since = None
