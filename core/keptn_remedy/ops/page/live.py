"""Open pages follow the journal: whatever changed on a screen is sent to all that show it."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from itertools import chain
from typing import NamedTuple

import orjson
from aiohttp import web

from keptn_remedy.http_server import let_stream
from keptn_remedy.journal import Browsing, JournalError
from keptn_remedy.ops.answers import HttpError
from keptn_remedy.ops.operators import Operator, Role
from keptn_remedy.ops.page.address import parsed
from keptn_remedy.ops.page.gate import Gate, Visitor
from keptn_remedy.ops.page.routes import HEADERS
from keptn_remedy.ops.page.screens import NotThere, Screens
from keptn_remedy.support import logs

LOOK_SECONDS = 1.0
# What pages cost, in shares of a core: the pause after a round is so many times as long as it.
PAUSE_TIMES = 40.0
# Pages whose screen can't change by the journal, such as a countdown's end, are made anew as well.
ANEW_SECONDS = 15.0
WRITE_SECONDS = 10.0
MOST_STREAMS = 60
# Stands for the form token of each page until it is sent. No event can hold it.
_FORM_TOKEN_HERE = f"form-{secrets.token_hex(16)}"
_TOKEN_BYTES = _FORM_TOKEN_HERE.encode()


class Topic(NamedTuple):
    """What pages have in common that get the same: the address, and what their visitor may do."""

    address: str
    role: Role
    is_signed_in: bool


class _Stream:
    """One open page. It is sent the newest content; what it was too slow for is left out."""

    def __init__(self, visitor: Visitor) -> None:
        self.visitor = visitor
        self.next = b""
        self.is_news = asyncio.Event()

    def offer(self, news: bytes) -> None:
        self.next = news
        self.is_news.set()


class Live:
    """Makes each screen once for all pages that show it, when the journal has changed."""

    def __init__(
        self,
        screens: Screens,
        journal: Browsing,
        gate: Gate,
        *,
        stamp: Callable[[], object],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._screens = screens
        self._journal = journal
        self._gate = gate
        self._stamp = stamp
        self._look_seconds = look_seconds
        self._streams: dict[Topic, set[_Stream]] = defaultdict(set)
        self._sent: dict[Topic, bytes] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    async def close(self) -> None:
        """Follow the journal no more, and end the answers: it is about to be closed."""
        self._is_closed = True
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])
        for stream in chain.from_iterable(self._streams.values()):
            stream.is_news.set()

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Answer `/live?at=ADDRESS`, for as long as the page is open."""
        visitor = await self._gate.visitor(request)
        if visitor is None:
            raise HttpError(401, "sign in first")
        if sum(map(len, self._streams.values())) >= MOST_STREAMS:
            raise HttpError(503, "too many open pages", {"Retry-After": "30"})
        address = parsed(request.query.get("at", "/"))
        topic = Topic(str(address), visitor.role, visitor.operator is not None)
        stream = _Stream(visitor)
        answer = web.StreamResponse(
            headers={**HEADERS, "Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
        )
        let_stream(request)
        self._streams[topic].add(stream)  # before anything is waited for: `MOST_STREAMS` holds
        if topic in self._sent:  # the page may be older than that
            stream.offer(self._sent[topic])
        self._begin()
        try:
            await answer.prepare(request)
            with suppress(ConnectionError, TimeoutError, JournalError):
                await self._send_all(request, answer, stream)
        finally:
            self._leave(topic, stream)
        return answer

    async def _send_all(
        self, request: web.Request, answer: web.StreamResponse, stream: _Stream
    ) -> None:
        await _write(answer, b"retry: 3000\n\n")
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(ANEW_SECONDS):
                    await stream.is_news.wait()
            # Whoever may not look any more is sent nothing any more.
            if self._is_closed or await self._gate.visitor(request) != stream.visitor:
                return
            if not stream.is_news.is_set():
                await _write(answer, b": still here\n\n")
                continue
            stream.is_news.clear()
            token = stream.visitor.form_token.encode()
            await _write(answer, stream.next.replace(_TOKEN_BYTES, token))

    def _begin(self) -> None:
        if self._task is None and not self._is_closed:
            self._task = asyncio.create_task(self._follow())

    def _leave(self, topic: Topic, stream: _Stream) -> None:
        self._streams[topic].discard(stream)
        if not self._streams[topic]:
            del self._streams[topic]
            self._sent.pop(topic, None)
        if not self._streams and self._task:
            self._task.cancel()
            self._task = None

    async def _follow(self) -> None:
        """Make screens anew, for as long as pages are open."""
        seen: object = None
        made_at = -ANEW_SECONDS
        known = set[Topic]()
        while True:
            pause = self._look_seconds
            with logs.surviving("following the journal for open pages"), suppress(JournalError):
                stamp = (await self._journal.stamp(), self._stamp())
                is_old = time.monotonic() - made_at >= ANEW_SECONDS
                topics = set(self._streams)
                if stamp != seen or is_old or topics - known:
                    began = time.monotonic()
                    for topic in topics:
                        await self._make(topic)
                    seen, known, made_at = stamp, topics, time.monotonic()
                    pause = max(pause, (made_at - began) * PAUSE_TIMES)
            await asyncio.sleep(min(pause, ANEW_SECONDS))

    async def _make(self, topic: Topic) -> None:
        try:
            part = await self._screens.part(parsed(topic.address), _anybody(topic))
        except NotThere:
            return
        streams = self._streams.get(topic)
        # Encoded once for all. A form token is hexadecimal, so it may take its place in there.
        news = b"data: " + orjson.dumps(part.html) + b"\n\n"
        # All may have left meanwhile: what is kept then, nobody would ever drop.
        if not streams or self._sent.get(topic) == news:
            return
        self._sent[topic] = news
        for stream in streams:
            stream.offer(news)


def _anybody(topic: Topic) -> Visitor:
    """Somebody who may see what the topic's visitors see."""
    if not topic.is_signed_in:
        return Visitor()
    somebody = Operator(name="somebody", role=topic.role, token_sha256="0" * 64)
    return Visitor(somebody, _FORM_TOKEN_HERE)


async def _write(answer: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_SECONDS):
        await answer.write(data)
