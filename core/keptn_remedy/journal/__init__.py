"""The durable record: executions, their plans, unsent reports, and what actions remember; what
rails count, what people said, and what is to be undone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from keptn_remedy.journal.protocol import History, Journal
from keptn_remedy.journal.values import (
    Alike,
    Arm,
    Backlog,
    DueUndo,
    Effect,
    Ending,
    Execution,
    Last,
    OpenTask,
    Pause,
    Question,
    Record,
    State,
    Undelivered,
    Undo,
    UndoAtOnce,
    UndoState,
    Unsent,
    Verdict,
    WholeRecord,
    lane,
)

__all__ = [
    "PAUSE_SECONDS",
    "Alike",
    "Arm",
    "Backlog",
    "DueUndo",
    "Effect",
    "Ending",
    "Execution",
    "History",
    "Journal",
    "JournalError",
    "JournalUnusable",
    "Last",
    "OpenTask",
    "Pause",
    "Question",
    "Record",
    "State",
    "Undelivered",
    "Undo",
    "UndoAtOnce",
    "UndoState",
    "Unsent",
    "Verdict",
    "WholeRecord",
    "insist",
    "lane",
]

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
