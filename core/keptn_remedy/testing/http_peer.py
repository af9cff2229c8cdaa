"""A loopback HTTP server for tests of actions: it follows a script and records the requests."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import orjson
from aiohttp import web


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived; `headers` ignores case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, decoded from JSON."""
        return orjson.loads(self.body)


@dataclass(slots=True)
class _Scripted:
    """A response, and how often it is still given; None closes the connection instead."""

    times: int | None
    response: Mapping[str, Any] | None


class HttpPeer:
    """The server of `http_peer()`. Beyond its script it answers 200 with an empty body."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[Request] = []
        self._script: deque[_Scripted] = deque()
        self._arrived = asyncio.Condition()
        self._free = asyncio.Event()
        self._free.set()

    def answer(
        self,
        status: int = 200,
        *,
        json: Any = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        times: int | None = 1,
    ) -> None:
        """Append a response to the script, given `times` times; with None it never ends."""
        headers = dict(headers or {})
        if json is not None:
            body = orjson.dumps(json)
            headers.setdefault("Content-Type", "application/json")
        response = {"status": status, "body": body, "headers": headers}
        self._script.append(_Scripted(times, response))

    def drop_next(self, *, times: int = 1) -> None:
        """Append to the script that the connection is closed without a response."""
        self._script.append(_Scripted(times, None))

    @contextmanager
    def hold(self) -> Generator[None]:
        """Receive requests, but answer them only when the block is left."""
        self._free.clear()
        try:
            yield
        finally:
            self._free.set()

    async def requested(self, times: int = 1, timeout: float = 10.0) -> None:  # noqa: ASYNC109 - one word in a test
        """Wait until that many requests have arrived in all."""
        async with asyncio.timeout(timeout), self._arrived:
            await self._arrived.wait_for(lambda: len(self.requests) >= times)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Record the request and give the next response of the script."""
        body = await request.read()
        self.requests.append(
            Request(request.method, request.path, request.query, request.headers, body)
        )
        scripted = self._next()
        async with self._arrived:
            self._arrived.notify_all()
        await self._free.wait()
        return hang_up(request) if scripted is None else web.Response(**scripted)

    def _next(self) -> Mapping[str, Any] | None:
        if not self._script:
            return {}
        scripted = self._script[0]
        if scripted.times is not None:
            scripted.times -= 1
            if scripted.times <= 0:
                self._script.popleft()
        return scripted.response


def hang_up(request: web.BaseRequest) -> web.Response:
    """Close the connection; the returned response never reaches the client."""
    if request.transport is not None:
        request.transport.close()
    return web.Response()


@asynccontextmanager
async def http_peer() -> AsyncGenerator[HttpPeer]:
    """Serve on a free loopback port until the block is left."""
    peer = HttpPeer()
    # A client may have left during a held request, which nothing should wait for.
    runner = web.ServerRunner(web.Server(peer.handle, access_log=None), shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    peer.url = "http://{}:{}".format(*runner.addresses[0])
    try:
        yield peer
    finally:
        await runner.cleanup()
