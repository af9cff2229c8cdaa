"""How events come in and reports go out: the seam that hides Keptn's wiring."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from keptn_remedy.events import Event, Report

AnswerKind = Literal["accepted", "duplicate", "noted", "ignored", "unavailable"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """What becomes of an event. `text` is the execution's id, or why it was not taken."""

    kind: AnswerKind
    text: str


Accept = Callable[[Event], Awaitable[Receipt]]


class Undelivered(Exception):
    """A report that may be sent again. `doubtful`: Keptn may have it all the same."""

    def __init__(self, reason: str, *, doubtful: bool, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.doubtful = doubtful
        self.retry_after = retry_after


class Rejected(Exception):
    """A report that was refused for good."""


class Transport(Protocol):
    """One way to hear of events and to answer them."""

    def receive(self, accept: Accept) -> AbstractAsyncContextManager[None]:
        """Hand every event to `accept`, from when the context is entered until it is left."""
        ...

    async def send(self, report: Report) -> None:
        """Hand a report to Keptn.

        Raises:
            Undelivered: it may be sent again.
            Rejected: it never will be taken.
        """
        ...
