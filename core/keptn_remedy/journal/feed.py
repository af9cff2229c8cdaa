"""What is stored reaches whoever works on it: from memory, or from the journal where it waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from keptn_remedy.journal.errors import PAUSE_SECONDS, JournalError
from keptn_remedy.journal.values import Claimable, Claimed
from keptn_remedy.support.clock import Clock

# How long the journal may hold something that nobody offered.
IDLE_SECONDS = 5.0
SOON_SECONDS = 0.01
AT_ONCE = 1000


T = TypeVar("T", bound=Claimable)


class Feed(Generic[T]):
    """Passes stored items on, each once: from memory until one must wait, from then on by way of
    the journal until nothing is left there.

    What holds at any time, whatever fails and whenever:

    * Nothing stored is forgotten. An item that was offered is started; or it is in `_arrived`,
      which the look under way passes on; or nobody claims it, and `is_left` says that another look
      must follow. What nobody offered, or what ended open, is found by a look every `IDLE_SECONDS`.
    * Nothing is started twice. Only a claimed item is started, and the journal claims it once.
    * Nothing that was offered is overtaken: while `is_left`, what is offered goes back to the
      journal, and comes after what waits there.
    * Memory is bounded by `room`, and by what is offered during one look.
    """

    def __init__(
        self,
        claim: Callable[[int], Awaitable[Claimed[T]]],
        start: Callable[[T], None],
        put_back: Callable[[T], None],
        *,
        room: Callable[[], int],
        clock: Clock,
    ) -> None:
        """`claim` takes at most so many items from the journal. `start` begins with one, and is
        called only while there is `room`; `put_back` ends the claim of one.
        """
        self._claim = claim
        self._start = start
        self._put_back = put_back
        self._room = room
        self._clock = clock
        # True until a look proves otherwise: an earlier process may have left something.
        self._is_left = True
        # What is offered during a look; None at other times. It may belong behind what is found.
        self._arrived: list[T] | None = None
        self._wake = asyncio.Event()

    @property
    def is_left(self) -> bool:
        """Whether the journal holds something to be passed on; true as well while nobody knows."""
        return self._is_left or self._arrived is not None

    @property
    def is_open(self) -> bool:
        """Whether a claimed item that is offered now is started at once."""
        return not self.is_left and self._room() > 0

    def offer(self, item: T) -> None:
        """Start what was just stored, at once or when its turn comes."""
        if self._arrived is not None:
            self._arrived.append(item)
        elif item.is_claimed and self.is_open:
            self._start(item)
        else:
            self._leave(item)
            self.note_room()

    def look_again(self) -> None:
        """Take up what the journal holds and nobody offered, or somebody gave back."""
        self._is_left = True
        self.note_room()

    def note_room(self) -> None:
        """There is room, or a lane or chain is free again: what is left may come."""
        # A look under way may have been too early.
        if self.is_left and self._room() > 0:
            self._wake.set()

    async def run(self) -> None:
        """Look into the journal whenever something is left there and may come, until cancelled."""
        while True:
            self._wake.clear()
            pause = IDLE_SECONDS
            if self._room() > 0:
                try:
                    pause = await self._look()
                except JournalError:
                    await self._clock.sleep(PAUSE_SECONDS)
                    continue
            await self._clock.wait(self._wake, pause)

    async def _look(self) -> float:
        """Start what may come; returns the seconds until the next look is worth while."""
        limit, self._arrived = min(self._room(), AT_ONCE), []
        # What is given back from now on may be missing in the answer, and sets it again.
        self._is_left = False
        try:
            found = await self._claim(limit)
        except BaseException:
            self._is_left = True  # nobody knows
            raise
        else:
            self._is_left |= found.is_left
            self._start_found(found.items)
        finally:
            arrived, self._arrived = self._arrived, None
            for item in arrived:
                self.offer(item)
        if len(found.items) == limit and self._room() > 0:
            return 0.0  # there may be more
        if found.due_at is None:
            return IDLE_SECONDS
        return min(max(found.due_at - self._clock.now(), SOON_SECONDS), IDLE_SECONDS)

    def _start_found(self, items: Sequence[T]) -> None:
        for item in items:
            if self._room() > 0:
                self._start(item)
            else:  # it was taken up while the journal was asked
                self._leave(item)

    def _leave(self, item: T) -> None:
        self._is_left = True
        if item.is_claimed:
            self._put_back(item)
