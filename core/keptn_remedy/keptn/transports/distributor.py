"""Beside Keptn's distributor: events come in over HTTP, reports go to its `/event`.

Where the distributor isn't our sidecar, reports go to `/v1/event` of Keptn's API with a token.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager

from aiohttp import (
    ClientConnectorError,
    ClientError,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
)
from yarl import URL

from keptn_remedy.events import STRUCTURED, Report
from keptn_remedy.http_client import in_words, retry_after
from keptn_remedy.keptn.api.credentials import Credentials
from keptn_remedy.keptn.transports import Accept, Undelivered
from keptn_remedy.keptn.transports.answers import failure
from keptn_remedy.keptn.transports.http_receiver import HttpReceiver
from keptn_remedy.support.clock import TimeLimits

ANSWER_SECONDS = 10.0
CONNECT_SECONDS = 3.0
MAX_CONNECTIONS = 64


class Distributor:
    """The transport of a provider with Keptn's distributor as its sidecar (docs/keptn.md#k9).

    `credentials` are those of Keptn's API, where that is what gets the reports.
    """

    def __init__(
        self, receiver: HttpReceiver, event_url: str, credentials: Credentials | None = None
    ) -> None:
        self._receiver = receiver
        self._url = URL(event_url)
        self._credentials = credentials
        self._session: ClientSession | None = None
        self._free = asyncio.Semaphore(MAX_CONNECTIONS)
        self._limits = TimeLimits()

    @property
    def port(self) -> int:
        return self._receiver.port

    @property
    def trouble(self) -> None:
        return None

    def receive(self, accept: Accept) -> AbstractAsyncContextManager[None]:
        return self._receiver.receive(accept)

    async def send(self, report: Report) -> None:
        credentials = self._credentials
        given = await credentials.headers() if credentials else {}
        status, headers = await self._post(report, given)
        if credentials and await credentials.renew(given, status):
            status, headers = await self._post(report, await credentials.headers())
        if not 200 <= status < 300:
            reason = f"{self._url.with_user(None)} answered {status}"
            raise failure(status, reason, retry_after(headers))

    def leave(self) -> None:
        self._receiver.leave()

    async def close(self) -> None:
        if self._session:
            await self._session.close()

    async def _post(
        self, report: Report, given: Mapping[str, str]
    ) -> tuple[int, Mapping[str, str]]:
        session = self._open_session()
        try:
            # For one of our connections it waits here, so that each has all its time for an answer.
            async with self._free:
                with self._limits.of(ANSWER_SECONDS):
                    answer = await session.post(
                        self._url, data=report.body, headers=given or None, allow_redirects=False
                    )
        except ClientConnectorError as error:
            raise Undelivered(f"{self._url} {in_words(error)}", doubtful=False) from None
        except (ClientError, TimeoutError, OSError) as error:
            raise Undelivered(f"no answer: {in_words(error)}", doubtful=True) from None
        answer.release()
        return answer.status, answer.headers

    def _open_session(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(limit=MAX_CONNECTIONS),
                headers={"Content-Type": STRUCTURED},
                # Others would cost a timer for each report.
                timeout=ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                cookie_jar=DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
            )
        return self._session
