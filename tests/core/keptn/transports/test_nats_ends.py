"""How a connection to NATS ends, on the event loop of Python and on that of `remedy serve`."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from typing import Any, NoReturn

import pytest
import uvloop
from nats.aio.client import Client
from nats.errors import ConnectionClosedError

from keptn_remedy.keptn.transports import Undelivered
from keptn_remedy.keptn.transports.nats_client import OrderedClient, end
from tests.core.keptn.transports.over_nats import Taken, report, transport
from tests.waiting import until

INFO = b'INFO {"server_id": "X", "version": "2.10.0", "max_payload": 1048576}\r\n'
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Iterator[Callable[[Coroutine[Any, Any, None]], None]]:
    with asyncio.Runner(loop_factory=request.param) as runner:
        yield runner.run


@asynccontextmanager
async def peer(heed: Serve) -> AsyncIterator[str]:
    """A server that greets, and leaves the rest to `heed`."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(INFO)
        await heed(reader, writer)
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield f"nats://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    listener.close()


async def _answer(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, until_verb: bytes = b"none"
) -> None:
    """Answer pings until that verb comes, or the end."""
    while (line := await reader.readline()) and not line.startswith(until_verb):
        if line.startswith(b"PING"):
            writer.write(b"PONG\r\n")


async def _reset_at_a_report(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await _answer(reader, writer, b"PUB")
    await _answer(reader, writer, b"PING")  # somebody waits for its PONG
    connection = socket.socket(fileno=writer.get_extra_info("socket").fileno())
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.detach()
    writer.transport.abort()


async def _reset(url: str) -> None:
    async with transport(url, Taken()) as ours:
        for _ in range(3):
            await until(lambda: ours.trouble is None)
            sent = await asyncio.gather(
                *(ours.send(report()) for _ in range(50)), return_exceptions=True
            )
            assert {type(each) for each in sent} == {Undelivered}
            assert any(isinstance(each, Undelivered) and each.doubtful for each in sent)


def test_a_reset_confirms_nothing_and_the_connection_is_made_again(
    run: Callable[[Coroutine[Any, Any, None]], None],
) -> None:
    async def test() -> None:
        async with peer(_reset_at_a_report) as url:
            await _reset(url)

    run(test())


async def test_a_client_that_reads_no_more_confirms_nothing() -> None:
    async with peer(_answer) as url:
        client = OrderedClient()
        await client.connect(url, allow_reconnect=False)
        await client.flush()
        await _end_reading(client)
        with pytest.raises(ConnectionClosedError):
            await client.flush()
        await client.close()


async def test_a_connection_that_reads_no_more_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients: list[OrderedClient] = []
    when_ended = OrderedClient.when_ended

    def note(client: OrderedClient, tell: Callable[[], None]) -> None:
        clients.append(client)
        when_ended(client, tell)

    monkeypatch.setattr(OrderedClient, "when_ended", note)
    async with peer(_answer) as url, transport(url, Taken()) as ours:
        await until(lambda: ours.trouble is None)
        await _end_reading(clients[0])  # nats-py calls no `closed_cb`
        await until(lambda: len(clients) == 2 and ours.trouble is None)


async def _end_reading(client: OrderedClient) -> None:
    reading = client._reading_task
    assert reading is not None
    reading.cancel()
    await asyncio.wait((reading,))


async def test_who_waits_for_room_is_let_go_when_the_client_is_closed() -> None:
    is_over = asyncio.Event()

    async def read_no_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"PONG\r\n")
        await is_over.wait()

    async with peer(read_no_more) as url:
        client = OrderedClient()
        await client.connect(url, allow_reconnect=False)

        async def publish() -> None:
            while True:
                await client.publish("reports", bytes(1024**2))

        publishing = asyncio.create_task(publish())
        sending: Any = client._transport
        sending, flushes = sending._io_writer.transport, client._flush_queue
        assert flushes is not None
        # The kernel takes no more: the flusher waits for it, and what is published for the flusher.
        await until(lambda: sending.get_write_buffer_size() > 0 and not flushes.empty())
        closing = asyncio.create_task(client.close())
        await until(lambda: client.is_closed)
        await end(closing)  # it waits for the server
        await asyncio.wait((publishing,), timeout=20)
        is_let_go = publishing.done()
        is_over.set()
        await end(publishing)
        assert is_let_go
        assert isinstance(publishing.exception(), ConnectionClosedError)


@pytest.mark.parametrize("error", [IndexError(), UnicodeDecodeError("utf-8", b"", 0, 1, "strange")])
async def test_headers_that_can_not_be_read_are_none(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    async def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(Client, "_process_headers", fail)
    assert await OrderedClient()._process_headers(b"NATS/1.0\r\n\r\n") is None


def test_a_subject_that_can_not_be_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise UnicodeDecodeError("utf-8", b"", 0, 1, "strange")

    monkeypatch.setattr(Client, "_build_message", fail)
    assert OrderedClient()._build_message(1, b"a", b"", b"", None) is None
