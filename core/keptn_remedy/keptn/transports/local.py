"""Local mode: events come in over HTTP, reports are kept in memory and shown."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from keptn_remedy.events import Report
from keptn_remedy.keptn.transports import Accept
from keptn_remedy.keptn.transports.http_receiver import HttpReceiver

KEPT = 1000


class Local:
    """The transport of `remedy serve --local`. `reports` holds the last 1,000 of them, and `show`
    is called with each.
    """

    def __init__(
        self, receiver: HttpReceiver, show: Callable[[Report], None] | None = None
    ) -> None:
        self.reports: deque[Report] = deque(maxlen=KEPT)
        self._receiver = receiver
        self._show = show

    @property
    def port(self) -> int:
        return self._receiver.port

    @property
    def trouble(self) -> None:
        return None

    def receive(self, accept: Accept) -> AbstractAsyncContextManager[None]:
        return self._receiver.receive(accept)

    async def send(self, report: Report) -> None:
        self.reports.append(report)
        if self._show:
            self._show(report)

    def leave(self) -> None:
        self._receiver.leave()

    async def close(self) -> None:
        """Nothing to close."""
