"""Attempts that failed and were made again: which, when and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from keptn_remedy.journal.values import Execution


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """One that was made again. `phase` is the method of the action, such as `apply`; `number`
    counts from 1 within one process.
    """

    failed_at: datetime
    phase: str
    number: int
    cause: str


class FailedAttempts(Protocol):
    """What people are shown of attempts that failed: the newest 20 of each execution."""

    async def note_failed_attempt(
        self, execution: Execution, phase: str, number: int, cause: str
    ) -> None:
        """Keep why an attempt failed just now.

        Raises:
            JournalError: it can't be stored.
            NotOwner: the execution is another replica's by now.
        """
        ...
