"""The HTTP client of webhooks: it connects to nothing but the addresses that were checked."""

from __future__ import annotations

import socket
from typing import NamedTuple

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

from keptn_remedy_actions.http_calls.addresses import Reach

CONNECT_SECONDS = 5.0
MOST_BYTES = 256 * 1024


class Request(NamedTuple):
    """One request, ready to be sent."""

    method: str
    url: URL
    headers: tuple[tuple[str, str], ...]
    body: bytes | None
    seconds: float


class Answer(NamedTuple):
    """One answer: its body is cut after `MOST_BYTES`."""

    status: int
    reason: str
    retry_after: str
    body: bytes


class CheckedResolver(AbstractResolver):
    """Looks names up, and checks what they lead to. aiohttp connects to exactly those addresses, so
    a name can't change in between. All addresses of a name must be allowed.
    """

    def __init__(self, reach: Reach, resolver: AbstractResolver | None = None) -> None:
        self._reach = reach
        self._resolver = resolver or DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._resolver.resolve(host, port, family)
        for each in found:
            self._reach.check_address(host, each["host"], port)
        return found

    async def close(self) -> None:
        await self._resolver.close()


class Client:
    """Sends requests to what `reach` allows, over connections that are kept."""

    def __init__(self, reach: Reach, resolver: AbstractResolver | None = None) -> None:
        self._reach = reach
        self._resolver = CheckedResolver(reach, resolver)
        self._session = ClientSession(
            connector=TCPConnector(resolver=self._resolver),
            cookie_jar=DummyCookieJar(),
        )

    def check(self, request: Request) -> None:
        """Raises Denied if the request must not be sent, as far as its address tells."""
        self._reach.check_url(request.url)

    async def send(self, request: Request) -> Answer:
        """Send it once, and read the answer. Redirects are not followed.

        Raises:
            Denied: it would reach what it must not.
            ClientError, TimeoutError: there is no answer.
        """
        self._reach.check_url(request.url)
        async with self._session.request(
            request.method,
            request.url,
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
            timeout=ClientTimeout(total=request.seconds, sock_connect=CONNECT_SECONDS),
        ) as answer:
            body = b""
            while len(body) < MOST_BYTES and not answer.content.at_eof():
                body += await answer.content.readany()
            retry_after = answer.headers.get("Retry-After", "")
            return Answer(answer.status, answer.reason or "", retry_after, body[:MOST_BYTES])

    async def close(self) -> None:
        await self._session.close()
        await self._resolver.close()
