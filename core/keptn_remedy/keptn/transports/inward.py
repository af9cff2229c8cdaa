"""Without Keptn: triggers come from inside, and reports are told to who began the execution."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from keptn_remedy.events import Report
from keptn_remedy.keptn.transports import Accept


class Inward:
    """The transport of `remedy serve --standalone`. `show` is called with each report."""

    def __init__(self, show: Callable[[Report], None] | None = None) -> None:
        self._show = show
        self._ended: Callable[[str], Awaitable[None]] | None = None

    @property
    def port(self) -> None:
        return None

    @property
    def trouble(self) -> None:
        return None

    def tell(self, ended: Callable[[str], Awaitable[None]]) -> None:
        """Call this with the id of each execution that ends, from now on."""
        self._ended = ended

    @asynccontextmanager
    async def receive(self, accept: Accept) -> AsyncGenerator[None]:
        """Nothing comes in from outside."""
        yield

    async def send(self, report: Report) -> None:
        if self._show:
            self._show(report)
        if self._ended and report.kind == "finished" and report.execution:
            await self._ended(report.execution)

    def leave(self) -> None:
        """There is no sender."""

    async def close(self) -> None:
        """Nothing to close."""
