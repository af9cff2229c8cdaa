"""The event port: CloudEvents over HTTP, answered as soon as they are stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

import orjson
from aiohttp import web

from keptn_remedy import events
from keptn_remedy.http_server import Limits, Refusals, TooSlow, listening, short
from keptn_remedy.http_server.limits import of_events
from keptn_remedy.keptn.transports import Accept, Receipt
from keptn_remedy.support import logs
from keptn_remedy.support.metrics import Metrics

MAX_BODY_BYTES = 1024**2  # aiohttp's default for a request, also after decompression
# Larger bodies are read a few at a time, so that half-sent ones can't fill the memory.
SMALL_BODY_BYTES = 64 * 1024
LARGE_BODIES = 32
RETRY_AFTER_SECONDS = "2"
_JSON = {"Content-Type": "application/json"}
_KEYS = {
    "accepted": "execution",
    "duplicate": "duplicate",
    "noted": "noted",
    "ignored": "ignored",
}


class HttpReceiver:
    """Listens on the event port. Port 0 takes a free one, which `port` names while listening.
    `names` are those that it answers to on loopback, besides its own.
    """

    def __init__(
        self,
        host: str,
        port: int,
        metrics: Metrics,
        *,
        names: Collection[str] = (),
        limits: Limits | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._metrics = metrics
        self._names = names
        self._limits = limits or of_events()
        self._large_bodies = asyncio.Semaphore(LARGE_BODIES)
        self._is_leaving = False

    @property
    def port(self) -> int:
        return self._port

    def leave(self) -> None:
        """Close each connection after its answer from now on."""
        self._is_leaving = True

    @asynccontextmanager
    async def receive(self, accept: Accept) -> AsyncGenerator[None]:
        """Listen until the context is left.

        Raises:
            OSError: the address can't be bound (in use, or not permitted).
        """

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            answer = await self._answer(request, accept)
            if self._is_leaving:
                answer.force_close()
            return answer

        async with listening(
            handle,
            self._host,
            self._port,
            problem=self._invalid,
            limits=self._limits,
            refusals=Refusals("events", self._metrics),
            names=self._names,
        ) as self._port:
            yield

    async def _answer(self, request: web.BaseRequest, accept: Accept) -> web.Response:
        if request.method != "POST":
            return self._invalid(405, "send events with POST", headers={"Allow": "POST"})
        if request.path != "/":
            return self._invalid(404, "post events to /")
        try:
            body = await self._body(request)
            event = events.read(request.headers, body)
        except web.HTTPRequestEntityTooLarge:
            return self._invalid(413, f"the body is over {MAX_BODY_BYTES} bytes")
        except events.NotACloudEvent as error:
            status = 415 if error.unsupported_media_type else 400
            return self._invalid(status, error.reason, error.attribute)
        except (web.RequestPayloadError, TooSlow, ConnectionError, UnicodeError) as error:
            # Otherwise aiohttp reads on after our answer, and logs the error as unhandled.
            request.content.set_exception(TimeoutError())
            status = 408 if isinstance(error, TooSlow) else 400
            return self._invalid(status, f"the body can't be read: {short(str(error))}")
        return self._acknowledged(await accept(event))

    async def _body(self, request: web.BaseRequest) -> bytes:
        length = request.content_length
        is_small = length is not None and length <= SMALL_BODY_BYTES
        if request.content.is_eof() or (is_small and "Content-Encoding" not in request.headers):
            return await request.read()
        async with self._large_bodies:
            return await request.read()

    def _acknowledged(self, receipt: Receipt) -> web.Response:
        self._metrics.events(receipt.kind).inc()
        if receipt.kind == "unavailable":
            headers = {"Retry-After": RETRY_AFTER_SECONDS}
            return _problem(503, receipt.text, headers=headers)
        status = 202 if receipt.kind == "accepted" else 200
        body = orjson.dumps({_KEYS[receipt.kind]: receipt.text}) + b"\n"
        return web.Response(status=status, body=body, headers=_JSON)

    def _invalid(
        self,
        status: int,
        detail: str,
        attribute: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> web.Response:
        self._metrics.events("invalid").inc()
        logs.logger().warning("not a CloudEvent", status=status, detail=detail)
        return _problem(status, detail, attribute, headers)


def _problem(
    status: int,
    detail: str,
    attribute: str | None = None,
    headers: dict[str, str] | None = None,
) -> web.Response:
    """A problem document (RFC 9457)."""
    problem = {"type": "about:blank", "title": detail, "status": status}
    if attribute:
        problem["attribute"] = attribute
    return web.Response(
        status=status,
        body=orjson.dumps(problem) + b"\n",
        headers=headers,
        content_type="application/problem+json",
    )
