"""The intake port: one path and one secret per source, answered once its alerts are stored."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import asynccontextmanager

import orjson
from aiohttp import web
from multidict import CIMultiDictProxy

from keptn_remedy.http_server import Limits, Refusals, TooSlow, listening, short
from keptn_remedy.http_server.limits import of_intake
from keptn_remedy.journal import JournalError
from keptn_remedy.standalone import pagerduty
from keptn_remedy.standalone.configuration import Configuration, OneSource
from keptn_remedy.standalone.intake import AlertIntake, BadMessage
from keptn_remedy.standalone.messages import is_signed
from keptn_remedy.support import logs
from keptn_remedy.support.metrics import Metrics

MAX_BODY_BYTES = 16 * 1024**2
# So many bodies are read at a time: half-sent large ones can't fill the memory.
BODIES_AT_ONCE = 8
_PATH = "/intake/"


class _RefusedError(Exception):
    """A message that is not taken, with the answer's status and headers."""

    def __init__(self, status: int, why: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.headers = headers


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
        try:
            source = self._source(request)
            body = await self._body(source, request)
        except _RefusedError as error:
            return self._refused(error.status, str(error), error.headers)
        return await self._stored(source, request.headers, body)

    def _source(self, request: web.BaseRequest) -> OneSource:
        source = self._configuration.sources.get(request.path.removeprefix(_PATH))
        if source is None or not request.path.startswith(_PATH):
            raise _RefusedError(404, "there is no such source; post to /intake/<source>")
        if request.method not in ("POST", "PUT"):
            raise _RefusedError(405, "send messages with POST", {"Allow": "POST, PUT"})
        return source

    async def _body(self, source: OneSource, request: web.BaseRequest) -> bytes:
        """The body of a message that carries the secret, or is signed with it."""
        signature, headers = source.signature_header, request.headers
        if not signature and not await source.secret.is_in(headers.get("Authorization", "")):
            raise _RefusedError(401, f"the secret of source {source.name} is wrong or missing")
        try:
            async with self._bodies:
                body = await request.clone(client_max_size=MAX_BODY_BYTES).read()
        except web.HTTPRequestEntityTooLarge:
            raise _RefusedError(413, f"the body is over {MAX_BODY_BYTES} bytes") from None
        except (web.RequestPayloadError, TooSlow, ConnectionError, UnicodeError) as error:
            # Otherwise aiohttp reads on after our answer, and logs the error as unhandled.
            request.content.set_exception(TimeoutError())
            status = 408 if isinstance(error, TooSlow) else 400
            why = f"the body can't be read: {short(str(error))}"
            raise _RefusedError(status, why) from None
        if signature and not await self._is_signed(source, signature, headers, body):
            raise _RefusedError(401, f"the signature of source {source.name} is wrong or missing")
        return body

    async def _is_signed(
        self, source: OneSource, signature: str, headers: CIMultiDictProxy[str], body: bytes
    ) -> bool:
        secret, stamp = await source.secret.text(), source.rules.timestamp_header
        if not secret:
            return False
        if source.rules.kind == "pagerduty":
            given = ",".join(headers.getall(signature, []))
            return await asyncio.to_thread(pagerduty.is_signed, secret, body, given)
        sent, at = headers.get(signature, ""), headers.get(stamp, "") if stamp else None
        return await asyncio.to_thread(is_signed, secret, body, sent, at, time.time())

    async def _stored(
        self, source: OneSource, headers: Mapping[str, str], body: bytes
    ) -> web.Response:
        try:
            stored = await self._intake.take(source, headers, body)
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
