"""Without Keptn: events come in over HTTP, reports are kept for whoever wants to see them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from keptn_remedy.events import Report
from keptn_remedy.keptn.transports import Accept
from keptn_remedy.keptn.transports.http_receiver import HttpReceiver

KEPT = 1000


class Local:
    """The transport of `remedy serve --local`: the last reports are kept, each is shown."""

    def __init__(
        self, receiver: HttpReceiver, show: Callable[[Report], None] = lambda report: None
    ) -> None:
        self.reports: deque[Report] = deque(maxlen=KEPT)
        self._receiver = receiver
        self._show = show

    def receive(self, accept: Accept) -> AbstractAsyncContextManager[None]:
        return self._receiver.receive(accept)

    async def send(self, report: Report) -> None:
        self.reports.append(report)
        self._show(report)

    async def close(self) -> None:
        """Nothing to close."""
