"""One connection of a port, within the port's limits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, cast

from aiohttp import StreamReader, web

if TYPE_CHECKING:
    from keptn_remedy.http_server import Listener

MAX_DETAIL_CHARACTERS = 200
_END_OF_HEAD = b"\r\n\r\n"
Phase = Literal["idle", "head", "body", "answer"]


class TooSlow(TimeoutError):
    """The rest of a request's body did not come in time."""


class Connection(web.RequestHandler):
    """Refuses what goes over a limit, and answers what is no HTTP as the port answers errors.

    Nothing is measured for each request: `look` is called at times, and knows what has not moved
    since the last one.
    """

    __slots__ = ("_age", "_head_bytes", "_is_refused", "_listener", "_payload", "_seen", "address")

    def __init__(self, listener: Listener) -> None:
        limits = listener.limits
        super().__init__(
            listener,
            loop=asyncio.get_running_loop(),
            keepalive_timeout=limits.idle_seconds,
            access_log=None,  # type: ignore[arg-type]  # switches it off
            max_headers=limits.header_fields,
            lingering_time=limits.body_seconds,
        )
        self.address = ""
        self._listener = listener
        self._is_refused = False
        self._head_bytes = 0
        self._payload: StreamReader | None = None
        self._seen: tuple[int, Phase] = (0, "head")
        self._age = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        peer: Any = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer and not isinstance(peer, str) else ""
        if why_not := self._listener.admit(self, transport):
            self._is_refused = True
            _answer(cast("asyncio.Transport", transport), "503 Service Unavailable", why_not)
            return
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        if not self._is_refused:
            self._listener.leave(self)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_refused:
            return
        payload = self._payload
        if (payload is None or payload.is_eof()) and self._is_too_long(data):
            self._refuse_headers()
            return
        known = self._request_count
        super().data_received(data)
        if self._request_count != known:
            self._head_bytes = 0
            if self._messages:
                self._payload = self._messages[-1][1]

    def _is_too_long(self, data: bytes) -> bool:
        """Whether this makes the head of a request longer than it may be."""
        left = self._listener.limits.header_bytes - self._head_bytes
        self._head_bytes += len(data)
        return len(data) > left and data.find(_END_OF_HEAD, 0, max(left, 0)) < 0

    def look(self, seconds: float) -> None:
        """Cut the client off that has let a request rest too long; `seconds` are those since the
        last look.
        """
        now = (self._request_count, self._phase())
        if now != self._seen:
            self._seen, self._age = now, 0.0
            return
        self._age += seconds
        limits = self._listener.limits
        phase = now[1]
        if phase == "head" and self._age >= limits.head_seconds:
            self._cut_off("408 Request Timeout", "the request did not come in time")
        elif phase == "body" and self._age >= limits.body_seconds:
            self._end_body()
        elif phase == "answer" and self._age >= limits.answer_seconds:
            self._abort("the answer was not read in time")

    def _phase(self) -> Phase:
        request = self._current_request
        if request is not None:
            return "answer" if request.content.is_eof() else "body"
        if self._waiter is None:
            return "answer"  # what is left of a body is read and dropped
        return "head" if self._head_bytes or not self._request_count else "idle"

    def _end_body(self) -> None:
        request = self._current_request
        if request is None or isinstance(request.content.exception(), TooSlow):
            self._abort("the body did not come in time")
            return
        # Whoever reads it answers the request; that may take as long again.
        self._age = 0.0
        self._listener.refusals.note("slow", "the body did not come in time")
        request.content.set_exception(TooSlow("it did not come in time"))

    def _refuse_headers(self) -> None:
        self._listener.refusals.count("headers")
        most = self._listener.limits.header_bytes
        title = f"the request is not valid HTTP: its headers are over {most} bytes"
        self._listener.problem(400, title)  # which logs it
        if self.transport is not None:
            _answer(self.transport, "400 Bad Request", title)
        self.force_close()

    def _cut_off(self, status: str, detail: str) -> None:
        self._listener.refusals.note("slow", detail)
        if self.transport is not None:
            _answer(self.transport, status, detail)
        self.force_close()

    def _abort(self, detail: str) -> None:
        self._listener.refusals.note("slow", detail)
        if self.transport is not None:
            self.transport.abort()

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
        reason = short((message or "").partition(":")[0])
        answer = self._listener.problem(status, f"the request is not valid HTTP: {reason}")
        answer.force_close()
        return answer


def short(message: str) -> str:
    """One line, without the status that aiohttp puts in front."""
    return " ".join(message.split()).removeprefix("400, message: ")[:MAX_DETAIL_CHARACTERS]


def _answer(transport: asyncio.Transport, status: str, title: str) -> None:
    """Answer what is no whole request, and close."""
    body = f'{{"type":"about:blank","title":"{title}","status":{status[:3]}}}\n'
    head = (
        f"HTTP/1.1 {status}",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
        "Retry-After: 2",
        "Connection: close",
    )
    transport.write("\r\n".join((*head, "", body)).encode())
    transport.close()
