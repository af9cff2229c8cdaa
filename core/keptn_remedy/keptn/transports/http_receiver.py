"""The event port: CloudEvents over HTTP, answered as soon as they are stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

import orjson
from aiohttp import web

from keptn_remedy import events
from keptn_remedy.keptn.transports import Accept, Receipt
from keptn_remedy.support import logs
from keptn_remedy.support.metrics import Metrics

MAX_BODY_BYTES = 1024**2  # aiohttp's default for a request, also after decompression
KEEP_ALIVE_SECONDS = 75.0
RETRY_AFTER_SECONDS = "2"
MAX_DETAIL_CHARACTERS = 200
_JSON = {"Content-Type": "application/json"}
_KEYS = {
    "accepted": "execution",
    "duplicate": "duplicate",
    "noted": "noted",
    "ignored": "ignored",
}

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class HttpReceiver:
    """Listens on the event port. Port 0 takes a free one, which `port` names while listening."""

    def __init__(self, host: str, port: int, metrics: Metrics) -> None:
        self._host = host
        self._port = port
        self._metrics = metrics
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

        server = _Server(handle, self._invalid)
        runner = web.ServerRunner(server, shutdown_timeout=0.3)  # aiohttp may wait twice
        await runner.setup()
        try:
            site = web.TCPSite(runner, self._host, self._port, reuse_address=True)
            await site.start()
            self._port = _bound_port(runner)
            yield
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.BaseRequest, accept: Accept) -> web.Response:
        if request.method != "POST":
            return self._invalid(405, "send events with POST", headers={"Allow": "POST"})
        if request.path != "/":
            return self._invalid(404, "post events to /")
        try:
            body = await request.read()
            event = events.read(request.headers, body)
        except web.HTTPRequestEntityTooLarge:
            return self._invalid(413, f"the body is over {MAX_BODY_BYTES} bytes")
        except events.NotACloudEvent as error:
            status = 415 if error.unsupported_media_type else 400
            return self._invalid(status, error.reason, error.attribute)
        except (web.RequestPayloadError, ConnectionError, UnicodeError) as error:
            # Otherwise aiohttp reads on after our answer, and logs the error as unhandled.
            request.content.set_exception(TimeoutError())
            return self._invalid(400, f"the body can't be read: {_short(str(error))}")
        return self._acknowledged(await accept(event))

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


class _Server(web.Server):
    def __init__(self, handle: Handle, refuse: Callable[[int, str], web.Response]) -> None:
        super().__init__(handle)
        self.refuse = refuse

    def __call__(self) -> web.RequestHandler:
        return _Connection(self)


class _Connection(web.RequestHandler):
    """Answers invalid HTTP with a problem too, as it answers an invalid CloudEvent."""

    __slots__ = ("_refuse",)

    def __init__(self, server: _Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=KEEP_ALIVE_SECONDS,
            access_log=None,  # type: ignore[arg-type]  # switches it off
        )
        self._refuse = server.refuse

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500 or request.writer.output_size > 0:
            return super().handle_error(request, status, exc, message)
        # After the colon aiohttp quotes the request, which could hold a secret.
        reason = _short((message or "").partition(":")[0])
        answer = self._refuse(status, f"the request is not valid HTTP: {reason}")
        answer.force_close()
        return answer


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


def _short(message: str) -> str:
    """One line, without the status that aiohttp puts in front."""
    return " ".join(message.split()).removeprefix("400, message: ")[:MAX_DETAIL_CHARACTERS]


def _bound_port(runner: web.ServerRunner) -> int:
    return int(runner.addresses[0][1])
