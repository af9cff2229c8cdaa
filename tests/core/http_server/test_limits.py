"""A port within its limits: of connections, bytes and seconds."""

import asyncio
import resource
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from keptn_remedy.http_server import Limits, Refusals, TooSlow, listening
from keptn_remedy.http_server.limits import max_descriptors, of_events, of_ops, raise_descriptors
from keptn_remedy.service import serve
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.support.variables import SettingsError
from tests.log_lines import LogLines, captured_logs
from tests.waiting import until

HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\n"
REQUEST = HEAD + b"Content-Length: 2\r\n\r\nhi"
SOON = 0.1


@dataclass
class Port:
    """A port that answers with what it was sent, and clients of it."""

    number: int
    metrics: Metrics
    log: LogLines
    clients: list[asyncio.StreamWriter] = field(default_factory=list)

    async def connect(self, sent: bytes = b"") -> asyncio.StreamReader:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        self.clients.append(writer)
        writer.write(sent)
        return reader

    def refused(self, reason: str) -> float:
        found = self.metrics.registry.get_sample_value(
            "remedy_http_refused_total", {"port": "ops", "reason": reason}
        )
        return found or 0.0


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    try:
        return web.Response(body=await request.read())
    except TooSlow as error:
        return problem(408, str(error))


def problem(status: int, title: str) -> web.Response:
    return web.Response(status=status, text=title)


@asynccontextmanager
async def port(served: Any = echo, **limits: Any) -> AsyncIterator[Port]:
    metrics = Metrics("1")
    with captured_logs() as log:
        async with listening(
            served,
            "127.0.0.1",
            0,
            problem=problem,
            limits=Limits(**{"connections": 10, **limits}),
            refusals=Refusals("ops", metrics),
        ) as number:
            opened = Port(number, metrics, log)
            try:
                yield opened
            finally:
                for client in opened.clients:
                    client.close()


async def status(reader: asyncio.StreamReader) -> int:
    """The status of the answer, which must come."""
    async with asyncio.timeout(10):
        line = await reader.readline()
    return int(line.split()[1])


async def is_cut_off(reader: asyncio.StreamReader) -> bool:
    """Whether the connection ends, with whatever was said before."""
    async with asyncio.timeout(10):
        try:
            await reader.read()
        except ConnectionError:
            return True
    return True


async def test_the_newest_connection_is_refused_when_all_are_taken() -> None:
    async with port(connections=3) as opened:
        first = await opened.connect()
        for _ in range(2):
            await opened.connect()
        refused = [await opened.connect(REQUEST) for _ in range(20)]
        for reader in refused:
            assert await is_cut_off(reader)
        opened.clients[0].write(REQUEST)
        assert await status(first) == 200
        assert opened.refused("full") == 20
        (line,) = opened.log.saying("the ops port refused a client")
        assert line["reason"] == "full"


async def test_a_place_is_free_again_once_a_connection_ends() -> None:
    async with port(connections=1) as opened:
        await opened.connect()
        opened.clients[0].close()

        async def is_answered() -> bool:
            reader = await opened.connect(REQUEST)
            return await status(reader) == 200

        await until(is_answered)


async def test_one_address_does_not_get_all_connections() -> None:
    async with port(connections=10, per_address=1) as opened:
        await opened.connect()
        assert await status(await opened.connect(REQUEST)) == 503


async def test_a_connection_is_refused_while_few_files_can_be_opened() -> None:
    async with port(last_descriptor=3) as opened:
        assert await status(await opened.connect(REQUEST)) == 503


LONG = b"X: " + b"x" * 8000 + b"\r\n"


@pytest.mark.parametrize("ending", [b"", b"\r\n"], ids=["half-sent", "whole"])
async def test_long_headers_are_refused(ending: bytes) -> None:
    async with port() as opened:
        reader = await opened.connect(HEAD + LONG * 5 + ending)
        assert await status(reader) == 400
        assert await is_cut_off(reader)
        assert opened.refused("headers") == 1


async def test_long_headers_in_small_pieces_are_refused() -> None:
    async with port(header_bytes=1000) as opened:
        reader = await opened.connect(HEAD)
        for _ in range(20):
            opened.clients[0].write(b"X: " + b"x" * 95 + b"\r\n")
            await asyncio.sleep(0)
        assert await is_cut_off(reader)  # what is still sent may cut the answer off
        assert opened.refused("headers") == 1


async def test_many_headers_are_refused() -> None:
    async with port(header_fields=10) as opened:
        assert await status(await opened.connect(HEAD + b"X: y\r\n" * 20 + b"\r\n")) == 400


async def test_the_bytes_of_bodies_and_of_earlier_requests_are_no_headers() -> None:
    async with port(header_bytes=200) as opened:
        large = HEAD + b"Content-Length: 9000\r\n\r\n" + b"x" * 9000
        reader = await opened.connect()
        for _ in range(4):
            opened.clients[0].write(large)
            assert await status(reader) == 200
            async with asyncio.timeout(10):
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(9000)
        assert await status(await opened.connect(REQUEST * 9)) == 200


@pytest.mark.parametrize("sent", [b"", HEAD], ids=["nothing", "half a head"])
async def test_a_request_that_does_not_come_is_not_waited_for(sent: bytes) -> None:
    async with port(head_seconds=SOON) as opened:
        assert await status(await opened.connect(sent)) == 408
        assert opened.refused("slow") == 1


async def test_one_that_comes_in_drops_is_not_waited_for_either() -> None:
    async with port(head_seconds=SOON) as opened:
        reader = await opened.connect(HEAD)

        async def drop() -> None:
            while True:
                opened.clients[0].write(b"X: y\r\n")
                await asyncio.sleep(0.01)

        dropping = asyncio.create_task(drop())
        assert await status(reader) == 408
        dropping.cancel()


async def test_a_connection_that_was_used_may_rest() -> None:
    async with port(head_seconds=SOON, body_seconds=SOON) as opened:
        reader = await opened.connect(REQUEST)
        assert await status(reader) == 200
        waiting = await opened.connect()
        assert await status(waiting) == 408  # one that never asked is cut off meanwhile
        async with asyncio.timeout(10):
            await reader.readuntil(b"hi")
        opened.clients[0].write(REQUEST)
        assert await status(reader) == 200


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    async with port(body_seconds=SOON) as opened:
        reader = await opened.connect(HEAD + b"Content-Length: 100\r\n\r\nhalf")
        assert await status(reader) == 408
        assert await is_cut_off(reader)
        assert opened.refused("slow") >= 1


async def test_an_answer_that_nobody_reads_is_not_waited_for() -> None:
    async def talk(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=b"x" * 30_000_000)

    async with port(talk, answer_seconds=SOON) as opened:
        await opened.connect(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await until(lambda: opened.refused("slow") == 1)


async def test_a_name_that_was_rebound_is_refused_before_anything_is_read() -> None:
    async with port() as opened:
        rebound = b"POST / HTTP/1.1\r\nHost: rebound.example\r\nContent-Length: 2\r\n\r\nhi"
        for refused in range(1, 3):
            assert await status(await opened.connect(rebound)) == 403
            assert opened.refused("host") == refused
            assert await status(await opened.connect(REQUEST)) == 200  # which is remembered


async def test_an_application_has_the_same_limits() -> None:
    application = web.Application()
    application.router.add_post("/", echo)
    async with port(application, connections=1) as opened:
        reader = await opened.connect(REQUEST)
        assert await status(reader) == 200
        assert await status(await opened.connect(REQUEST)) == 503


def test_the_ports_share_the_open_files_that_there_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    for most in (256, 1024, 1_048_576, resource.RLIM_INFINITY):
        monkeypatch.setattr(resource, "getrlimit", lambda which, most=most: (most, most))
        events, ops, descriptors = of_events(), of_ops(), max_descriptors()
        assert ops.last_descriptor is not None
        assert ops.last_descriptor + descriptors // 4 <= descriptors
        assert events.connections + ops.connections < descriptors * 3 // 4
        assert ops.per_address is not None
        assert 0 < ops.per_address < ops.connections


@pytest.mark.parametrize("limits", [of_events, of_ops])
def test_a_request_and_its_body_have_5_seconds_and_32_kib_of_headers(
    limits: Callable[[], Limits],
) -> None:
    found = limits()
    assert (found.head_seconds, found.body_seconds) == (5, 5)
    assert (found.header_fields, found.header_bytes) == (100, 32 * 1024)


def test_the_soft_limit_of_open_files_becomes_the_hard_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: asked.append(limits))
    raise_descriptors()
    assert asked == [(4096, 4096)]


async def test_a_service_raises_the_limit_before_anything_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: asked.append(limits))
    with pytest.raises(SettingsError):
        await serve({"REMEDY_PORT": "no number"})
    assert asked == [(4096, 4096)]
