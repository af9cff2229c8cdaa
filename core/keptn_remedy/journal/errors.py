"""What goes wrong with a journal, and how to insist on a change all the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

PAUSE_SECONDS = 1.0


class JournalError(Exception):
    """The journal can't be written or read now; nothing of the refused change was stored."""


class JournalUnusable(Exception):
    """The journal can't be opened by this process; the message says what to do."""


def in_words(error: Exception, path: Path) -> str:
    """What went wrong with this file, and what to do if it is damaged."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without what is told in detail
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return f"{path} is damaged, or no journal ({error}): restore a backup"
    return f"{path}: {error}" if isinstance(error, sqlite3.Error) else str(error)


class TaskEnded(Exception):
    """Keptn has ended the task of an execution. That is noted in the journal."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def insist(write: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[None]]) -> T:
    """What must be stored, tried again for as long as the journal fails."""
    while True:
        try:
            return await write()
        except JournalError:
            await sleep(PAUSE_SECONDS)
