"""What goes wrong with a journal, and how to insist on a change all the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

PAUSE_SECONDS = 1.0


class JournalError(Exception):
    """The journal can't be written or read now; nothing of the refused change was stored."""


class JournalUnusable(Exception):
    """The journal can't be opened by this process; the message says what to do."""


async def insist(write: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[None]]) -> T:
    """What must be stored, tried again for as long as the journal fails."""
    while True:
        try:
            return await write()
        except JournalError:
            await sleep(PAUSE_SECONDS)
