"""The load: 64 keep-alive connections on which events are posted, one at a time each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from bench.servers import Server
from bench.sink import Sink
from bench.wire import Messages

CONNECTIONS = 64
SERVICES_OF_EACH = 16
ROUND_SECONDS = 60.0
WATCH_SECONDS = 0.05

_EVENT = (Path(__file__).parent / "event.json").read_bytes()
_HEAD = b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/cloudevents+json\r\n"


@dataclass(frozen=True)
class Rate:
    """What one round showed. `load_busy` is the share of its core that load and sink used."""

    per_second: float
    cpu_us: float
    load_busy: float


class Poster(Protocol):
    """Whatever takes events."""

    def post(self, event: bytes) -> Awaitable[None]: ...


def new_event(number: int) -> tuple[str, bytes]:
    """An event's id and its 1.5 kB, of a problem of its own; the number chooses the service."""
    event_id = str(uuid4())
    body = _EVENT % {
        b"id": event_id.encode(),
        b"context": event_id.encode(),
        b"service": b"service-%d" % number,
    }
    return event_id, body


@dataclass(frozen=True)
class Sending:
    """What is posted: the head without its length, and a new message with its id by number."""

    head: bytes = _HEAD
    new: Callable[[int], tuple[str, bytes]] = new_event


EVENTS = Sending()


async def rate(
    server: Server,
    *,
    warm_up: float,
    seconds: float,
    until_finished_at: Sink | None = None,
    next_at_started: bool = False,
    over: Poster | None = None,
    first_service: int = 0,
    sending: Sending = EVENTS,
) -> Rate:
    """How many loops the server completes when every connection is always busy.

    A loop ends with the answer or, where the server answers before it has worked, with the
    `finished` at the sink: so a fast answer buys nothing, and no backlog can build up. With
    `next_at_started` a connection begins its next loop at the `started` before: where `finished` is
    held back, it would wait most of the time. `over` posts instead of connections to the server.
    Servers that share a journal have services of their own, from `first_service` on: executions of
    one service wait for one another.
    """
    loops = _Loops(until_finished_at, sending, next_at_started=next_at_started)
    async with (
        asyncio.timeout(ROUND_SECONDS + seconds),
        _posters(server, over, sending) as posters,
        asyncio.TaskGroup() as group,
    ):
        for number, poster in enumerate(posters):
            group.create_task(loops.run(poster, first_service + number))
        group.create_task(loops.watch(server))
        await asyncio.sleep(warm_up)
        before = _Moment.of(server, loops)
        await asyncio.sleep(seconds)
        measured = _Moment.of(server, loops).since(before)
        loops.stopped = True
    return measured


async def post_all(server: Server, events: int, listed_by: Sink | None = None) -> list[float]:
    """Post that many events over all connections; the seconds that each acknowledgement took."""
    numbers = iter(range(events))
    taken: list[float] = []

    async def post(connection: _Connection) -> None:
        for number in numbers:
            event_id, body = new_event(number)
            if listed_by:
                listed_by.list_as_open(event_id)
            began = time.perf_counter()
            await connection.post(body)
            taken.append(time.perf_counter() - began)

    async with (
        asyncio.timeout(ROUND_SECONDS),
        _connections(server.port) as connections,
        asyncio.TaskGroup() as group,
    ):
        for connection in connections:
            group.create_task(post(connection))
    return taken


class _Connection(Messages):
    def __init__(self, head: bytes = _HEAD) -> None:
        super().__init__()
        self._head = head
        self._answer: asyncio.Future[None] | None = None

    def post(self, event: bytes) -> asyncio.Future[None]:
        """Post an event; done when it is answered with 202, fails with any other answer."""
        self._answer = asyncio.get_running_loop().create_future()
        self.send(b"%bContent-Length: %d\r\n\r\n%b" % (self._head, len(event), event))
        return self._answer

    def received(self, head: bytes, body: bytes) -> None:
        if self._answer is None or self._answer.done():
            return
        if head.startswith(b"HTTP/1.1 202 "):
            self._answer.set_result(None)
        else:
            self._answer.set_exception(RuntimeError(f"not acknowledged: {head!r} {body!r}"))

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server hung up"))


class _Loops:
    """The loops that the connections have under way and have completed."""

    def __init__(self, sink: Sink | None, sending: Sending, *, next_at_started: bool) -> None:
        self.begun = self.done = 0
        self._new = sending.new
        self.stopped = False
        self._sink = sink
        self._next_at_started = next_at_started

    async def run(self, poster: Poster, number: int) -> None:
        service = number * SERVICES_OF_EACH
        while not self.stopped:
            event_id, body = self._new(service + self.done % SERVICES_OF_EACH)
            self.begun += 1
            if self._sink is None:
                await poster.post(body)
                self.done += 1
                continue
            finished = self._sink.expect("finished", event_id)
            finished.add_done_callback(self._note_done)
            goes_on = self._sink.expect("started", event_id) if self._next_at_started else finished
            await poster.post(body)
            await goes_on

    def _note_done(self, _: asyncio.Future[None]) -> None:
        self.done += 1

    async def watch(self, server: Server) -> None:
        """Until the last loop has ended, see that the server lives: a dead one finishes nothing."""
        while not self.stopped or self.done < self.begun:
            if server.process.poll() is not None:
                raise RuntimeError(f"the server died: exit code {server.process.returncode}")
            await asyncio.sleep(WATCH_SECONDS)


@dataclass(frozen=True)
class _Moment:
    at: float
    loops: int
    server_cpu: float
    load_cpu: float

    @classmethod
    def of(cls, server: Server, loops: _Loops) -> _Moment:
        return cls(time.perf_counter(), loops.done, server.cpu_seconds, time.process_time())

    def since(self, before: _Moment) -> Rate:
        seconds, loops = self.at - before.at, self.loops - before.loops
        return Rate(
            per_second=loops / seconds,
            cpu_us=(self.server_cpu - before.server_cpu) / max(loops, 1) * 1e6,
            load_busy=(self.load_cpu - before.load_cpu) / seconds,
        )


@asynccontextmanager
async def _posters(
    server: Server, over: Poster | None, sending: Sending
) -> AsyncIterator[Sequence[Poster]]:
    """What each of the 64 loops posts with: a connection of its own, or all the same."""
    if over is not None:
        yield [over] * CONNECTIONS
        return
    async with _connections(server.port, sending.head) as connections:
        yield connections


@asynccontextmanager
async def _connections(port: int, head: bytes = _HEAD) -> AsyncIterator[list[_Connection]]:
    loop = asyncio.get_running_loop()
    connections = [
        (await loop.create_connection(lambda: _Connection(head), "127.0.0.1", port))[1]
        for _ in range(CONNECTIONS)
    ]
    try:
        yield connections
    finally:
        for connection in connections:
            if connection.transport is not None:
                connection.transport.close()
