"""How events come in and reports go out: the seam between the service and Keptn's network."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Literal, NamedTuple, Protocol

from keptn_remedy.events import Event, Report

ReceiptKind = Literal["accepted", "duplicate", "noted", "ignored", "unavailable"]


class Receipt(NamedTuple):
    """What was done with an event. `text` is the execution's id, or why there is none."""

    kind: ReceiptKind
    text: str


Accept = Callable[[Event], Awaitable[Receipt]]


class Undelivered(Exception):
    """A report that may be sent again. `doubtful`: Keptn may have received it nevertheless.

    `retry_after` is how many seconds the peer asked us to wait, if it did.
    """

    def __init__(self, reason: str, *, doubtful: bool, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.doubtful = doubtful
        self.retry_after = retry_after


class Blocked(Undelivered):
    """The way to Keptn takes no report at all: a proxy, a wrong address, a missing right."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason, doubtful=False)


class Rejected(Exception):
    """A report that Keptn will never take, because of its content; the message says why."""


class Transport(Protocol):
    """One way to receive events and to send reports. It owns what it listens and sends with."""

    @property
    def port(self) -> int | None:
        """The TCP port on which it listens; None where it listens on none."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why nothing comes in now or can go out, where the transport knows."""
        ...

    def receive(self, accept: Accept) -> AbstractAsyncContextManager[None]:
        """Pass every event to `accept`, from entering the context until leaving it.

        Entering raises:
            OSError: the address can't be bound (in use, or not permitted).
        """
        ...

    async def send(self, report: Report) -> None:
        """Hand a report to Keptn.

        Raises:
            Undelivered: it may be sent again. Blocked: so may every other one.
            Rejected: it will never be taken.
        """
        ...

    def leave(self) -> None:
        """Close each connection after its answer from now on, so that no sender reuses one that
        ends with this process. Events are still received.
        """
        ...

    async def close(self) -> None:
        """Close the connections over which reports are sent."""
        ...
