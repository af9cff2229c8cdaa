"""The event port under clients that never send the rest."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from keptn_remedy.events import Event
from keptn_remedy.http_server import Limits
from keptn_remedy.keptn.transports import Receipt, http_receiver
from keptn_remedy.keptn.transports.http_receiver import SMALL_BODY_BYTES, HttpReceiver
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import triggered

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/cloudevents+json\r\n"


async def accept(event: Event) -> Receipt:
    return Receipt("accepted", event.id)


class Port:
    """A receiver's port, and clients of it."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._clients: list[asyncio.StreamWriter] = []

    async def post(self, body: bytes, *, length: int | None = None) -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._number)
        self._clients.append(writer)
        framing = b"Content-Length: %d\r\n\r\n" % (len(body) if length is None else length)
        writer.write(HEAD + framing + body)
        return reader

    def close(self) -> None:
        for client in self._clients:
            client.close()


@asynccontextmanager
async def receiving(**limits: Any) -> AsyncIterator[Port]:
    given = Limits(connections=50, **limits)
    receiver = HttpReceiver("127.0.0.1", 0, Metrics("1"), limits=given)
    async with receiver.receive(accept):
        port = Port(receiver.port)
        yield port
        port.close()


async def status(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(10):
        return int((await reader.readline()).split()[1])


async def test_large_bodies_without_their_end_hold_up_no_small_event_and_are_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http_receiver, "LARGE_BODIES", 1)
    async with receiving(body_seconds=0.3) as port:
        half = b"x" * SMALL_BODY_BYTES
        slow = [await port.post(half, length=10**6) for _ in range(5)]
        event = orjson.dumps(triggered("act", {}))
        assert await status(await port.post(event)) == 202
        assert [await status(reader) for reader in slow] == [408] * 5


async def test_a_large_event_is_accepted() -> None:
    async with receiving() as port:
        event = orjson.dumps(triggered("act", {"text": "x" * 500_000}))
        assert await status(await port.post(event)) == 202
