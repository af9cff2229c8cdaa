"""A remote execution plane without a distributor: events are polled for, reports posted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from keptn_remedy.events import LOG_ERROR, Report
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.control_plane.error_log import ErrorLog
from keptn_remedy.keptn.transports import Accept, Blocked, Undelivered
from keptn_remedy.keptn.transports.answers import failure
from keptn_remedy.keptn.transports.poller import Poller

UNVERIFIED = "Keptn's certificate is not checked (HTTP_SSL_VERIFY)"


class Polling:
    """The transport of a provider that only reaches Keptn's API (docs/keptn.md#k51).

    Nobody stores log entries that are posted as events, so these go to the API's error log.
    """

    def __init__(
        self, api: ApiClient, poller: Poller, error_log: ErrorLog, *, is_verified: bool = True
    ) -> None:
        self._api = api
        self._poller = poller
        self._error_log = error_log
        self._is_verified = is_verified

    @property
    def port(self) -> None:
        return None

    @property
    def trouble(self) -> str | None:
        found = [self._poller.trouble, None if self._is_verified else UNVERIFIED]
        return "; ".join(filter(None, found)) or None

    @asynccontextmanager
    async def receive(self, accept: Accept) -> AsyncGenerator[None]:
        running = asyncio.create_task(self._poller.run(accept))
        try:
            yield
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running

    async def send(self, report: Report) -> None:
        if report.type == LOG_ERROR:
            await self._error_log.add(report)
            return
        reply = await self._api.post("v1/event", report.body)
        reason = f"{self._api.address} {reply.reason}"
        if reply.status is None:
            raise Undelivered(reason, doubtful=reply.doubtful, retry_after=reply.retry_after)
        if not 200 <= reply.status < 300:
            raise failure(reply.status, reason, reply.retry_after)
        if not reply.body.lstrip().startswith(b"{"):
            raise Blocked(f"{reason} with something that isn't Keptn's")

    def leave(self) -> None:
        """Look for nothing more: Keptn lists it until the next process does."""
        self._poller.stop()

    async def close(self) -> None:
        await self._api.close()
