"""When Keptn's API is left alone after it has refused requests, as a whole or one path of it."""

from __future__ import annotations

import random

from keptn_remedy.keptn.api.connections import FORBIDDEN, TOO_MANY, Reply
from keptn_remedy.support.clock import Clock

# Keptn's gateway answers 429 to more than one failed login a second.
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 30.0
# Of more paths, those that were forbidden first are asked again at once.
MOST_PATHS = 100


class Pauses:
    """One pause for all requests after a 401 or 429; after a 403, one for its place: a method and a
    path.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._of_all = _Pause(clock)
        self._of_place: dict[str, _Pause] = {}

    def refused(self, place: str) -> Reply | None:
        """The reply to a request that isn't sent; None for one that may be."""
        own = self._of_place.get(place)
        return (own.refused() if own else None) or self._of_all.refused()

    def numbers(self, place: str) -> tuple[int, int]:
        """How many pauses of each kind there have been, for `note` after the request."""
        own = self._of_place.get(place)
        return self._of_all.number, own.number if own else 0

    def note(self, place: str, reply: Reply, numbers: tuple[int, int]) -> None:
        """Begin or end a pause as the response asks for; `numbers` are those before the request."""
        of_all, of_place = numbers
        if reply.status == FORBIDDEN:
            # This tells nothing about the others: it may come from a firewall.
            self._of_place.setdefault(place, _Pause(self._clock)).begin(reply, of_place)
            if len(self._of_place) > MOST_PATHS:
                del self._of_place[next(iter(self._of_place))]
        elif reply.is_refused:
            self._of_all.begin(reply, of_all)
        elif reply.status is not None:
            self._of_all.end()
            self._of_place.pop(place, None)


class _Pause:
    """Holds requests back while they are refused. `number` counts the pauses."""

    def __init__(self, clock: Clock) -> None:
        self.number = 0
        self._clock = clock
        self._refusal: Reply | None = None
        self._in_a_row = 0
        self._until = 0.0

    def refused(self) -> Reply | None:
        """As `Pauses.refused`. Of those that may be sent after a pause, one goes first."""
        if self._refusal is None:
            return None
        now = self._clock.monotonic()
        if now < self._until:
            left, why = self._until - now, self._refusal.reason.encode()
            return Reply(None, why, retry_after=left, is_refused=True)
        self._until = now + FIRST_PAUSE_SECONDS  # the others wait for what this one is told
        return None

    def begin(self, reply: Reply, number: int) -> None:
        """Begin a pause, each time a longer one.

        Race: of requests that were under way together, the first one that is refused begins it.
        """
        if number != self.number:
            return
        self.number += 1
        pause = FIRST_PAUSE_SECONDS * 2.0 ** min(self._in_a_row, 10)
        if reply.status == TOO_MANY:
            pause = max(pause, reply.retry_after or 0.0)
        pause = min(pause, LONGEST_PAUSE_SECONDS) * random.uniform(0.75, 1.25)  # noqa: S311  (jitter, not a secret)
        self._until = self._clock.monotonic() + pause
        self._refusal, self._in_a_row = reply, self._in_a_row + 1

    def end(self) -> None:
        """Let all through, and begin with a short pause next time."""
        self._refusal, self._in_a_row = None, 0
