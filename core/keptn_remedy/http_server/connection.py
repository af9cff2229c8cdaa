"""The connections of a port: what each may do, and how many there may be."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Literal, cast

from aiohttp import StreamReader, hdrs, web

from keptn_remedy.http_server.hosts import KnownHosts
from keptn_remedy.http_server.limits import Limits, Refusals

Handle = Callable[[Any], Awaitable[web.StreamResponse]]
Problem = Callable[[int, str], web.StreamResponse]

MAX_DETAIL_CHARACTERS = 200
MOST_REMEMBERED = 100
_END_OF_HEAD = b"\r\n\r\n"
Phase = Literal["idle", "head", "body", "answer", "stream"]
_STREAM = web.RequestKey("stream", bool)


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
            if not request.content.is_eof():
                return "body"
            return "stream" if request.get(_STREAM) else "answer"
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


class Listener(web.Server):
    """The open connections of a port. `problem` makes the answer to an error of its status and
    title.
    """

    def __init__(
        self,
        handle: Handle,
        problem: Problem,
        limits: Limits,
        refusals: Refusals,
        request_factory: Any = None,
    ) -> None:
        super().__init__(self._answer, request_factory=request_factory)
        self.problem = problem
        self.limits = limits
        self.refusals = refusals
        self._handle = handle
        self._hosts: KnownHosts | None = KnownHosts()
        # Host and Origin of requests that were answered: they need no second look.
        self._welcome: set[tuple[str | None, str | None]] = set()
        self._open: set[Connection] = set()
        self._of_address: Counter[str] = Counter()

    def __call__(self) -> web.RequestHandler:
        return Connection(self)

    def answer_to(self, hosts: KnownHosts | None) -> None:
        """Answer only requests for these hosts, from now on; None for any."""
        self._hosts = hosts
        self._welcome.clear()

    def admit(self, connection: Connection, transport: asyncio.BaseTransport) -> str | None:
        """Take a new connection in, or return why not. What is open already stays."""
        limits, address = self.limits, connection.address
        if len(self._open) >= limits.connections or (
            limits.per_address and self._of_address[address] >= limits.per_address
        ):
            why_not = "too many connections"
        elif limits.last_descriptor and _descriptor(transport) > limits.last_descriptor:
            why_not = "too many open files"
        else:
            self._open.add(connection)
            self._of_address[address] += 1
            return None
        self.refusals.note("full", why_not)
        return why_not

    def leave(self, connection: Connection) -> None:
        """A connection has ended."""
        self._open.discard(connection)
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]

    async def watch(self) -> None:
        """Look after slow clients, until cancelled."""
        seconds = self.limits.look_seconds
        while True:
            await asyncio.sleep(seconds)
            # Counted in looks: while the process itself stood still, nobody was slow.
            for connection in list(self._open):
                connection.look(seconds)

    def _answer(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        headers = request.headers
        names = headers.get(hdrs.HOST), headers.get(hdrs.ORIGIN)
        if self._hosts is None or names in self._welcome:
            return self._handle(request)
        if why_not := self._hosts.objection(*names):
            return self._refuse(short(why_not))
        if len(self._welcome) < MOST_REMEMBERED:
            self._welcome.add(names)
        return self._handle(request)

    async def _refuse(self, why_not: str) -> web.StreamResponse:
        self.refusals.note("host", why_not)
        return self.problem(403, why_not)


def let_stream(request: web.BaseRequest) -> None:
    """Let the answer go on for as long as its handler writes; it has a limit for each write."""
    request[_STREAM] = True


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


def _descriptor(transport: asyncio.BaseTransport) -> int:
    """The number of its file descriptor: the lowest that was free, so it says how many are open."""
    return int(transport.get_extra_info("socket").fileno())
