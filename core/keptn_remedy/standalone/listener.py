"""The intake port: one path and one secret per source, answered once its alerts are stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import asynccontextmanager

import orjson
from aiohttp import web

from keptn_remedy.http_server import Limits, Refusals, TooSlow, listening, short
from keptn_remedy.http_server.limits import of_intake
from keptn_remedy.journal import JournalError
from keptn_remedy.standalone.configuration import Configuration, OneSource
from keptn_remedy.standalone.intake import AlertIntake, BadMessage
from keptn_remedy.support import logs
from keptn_remedy.support.metrics import Metrics

MAX_BODY_BYTES = 16 * 1024**2
# So many bodies are read at a time: half-sent large ones can't fill the memory.
BODIES_AT_ONCE = 8
_PATH = "/intake/"


class IntakeListener:
    """Listens on the intake port. Port 0 takes a free one, which `port` names while listening.
    `compare` is called after a message that could not be stored: its sender may not repeat it.
    """

    def __init__(
        self,
        host: str,
        port: int,
        configuration: Configuration,
        intake: AlertIntake,
        metrics: Metrics,
        compare: Callable[[], None],
        *,
        names: Collection[str] = (),
        limits: Limits | None = None,
    ) -> None:
        self.port = port
        self._host = host
        self._configuration = configuration
        self._intake = intake
        self._metrics = metrics
        self._compare = compare
        self._names = names
        self._limits = limits or of_intake()
        self._bodies = asyncio.Semaphore(BODIES_AT_ONCE)

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[None]:
        """Listen until the context is left.

        Raises:
            OSError: the address can't be bound (in use, or not permitted).
        """
        async with listening(
            self._answer,
            self._host,
            self.port,
            problem=_problem,
            limits=self._limits,
            refusals=Refusals("intake", self._metrics),
            names=self._names,
        ) as self.port:
            yield

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        name = request.path.removeprefix(_PATH)
        source = self._configuration.sources.get(name)
        if source is None or not request.path.startswith(_PATH):
            return self._refused(404, "there is no such source; post to /intake/<source>")
        if request.method not in ("POST", "PUT"):
            return self._refused(405, "send messages with POST", {"Allow": "POST, PUT"})
        if not await source.secret.is_in(request.headers.get("Authorization", "")):
            return self._refused(401, f"the secret of source {name} is wrong or missing")
        try:
            async with self._bodies:
                body = await request.clone(client_max_size=MAX_BODY_BYTES).read()
        except web.HTTPRequestEntityTooLarge:
            return self._refused(413, f"the body is over {MAX_BODY_BYTES} bytes")
        except (web.RequestPayloadError, TooSlow, ConnectionError, UnicodeError) as error:
            # Otherwise aiohttp reads on after our answer, and logs the error as unhandled.
            request.content.set_exception(TimeoutError())
            status = 408 if isinstance(error, TooSlow) else 400
            return self._refused(status, f"the body can't be read: {short(str(error))}")
        return await self._stored(source, body)

    async def _stored(self, source: OneSource, body: bytes) -> web.Response:
        try:
            stored = await self._intake.take(source, body)
        except BadMessage as error:
            return self._refused(400, str(error))
        except JournalError as error:
            logs.logger().error("alerts not stored", source=source.name, reason=str(error))
            self._compare()
            self._metrics.intake(source.name, "unavailable").inc()
            return _problem(503, "the journal can't be written")
        self._metrics.intake(source.name, "stored").inc()
        told = {"alerts": sum(_counts(stored.taken)) + stored.ignored, "ignored": stored.ignored}
        return web.Response(
            status=202, body=orjson.dumps(told) + b"\n", content_type="application/json"
        )

    def _refused(
        self, status: int, detail: str, headers: dict[str, str] | None = None
    ) -> web.Response:
        self._metrics.intake("", "refused").inc()
        logs.logger().warning("a message was refused", status=status, detail=detail)
        return _problem(status, detail, headers)


def _counts(taken: object) -> list[int]:
    return [
        int(getattr(taken, name))
        for name in ("opened", "reopened", "repeated", "resolved", "unknown")
    ]


def _problem(status: int, detail: str, headers: dict[str, str] | None = None) -> web.Response:
    """A problem document (RFC 9457)."""
    return web.Response(
        status=status,
        body=orjson.dumps({"type": "about:blank", "title": detail, "status": status}) + b"\n",
        headers=headers,
        content_type="application/problem+json",
    )
