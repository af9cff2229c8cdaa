"""The transport on three servers that share a stream: what differs there from one."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig
from nats.js.client import JetStreamContext

from keptn_remedy.events import TRIGGERED
from keptn_remedy.keptn.transports import Undelivered
from keptn_remedy.keptn.transports.direct_nats import DirectNats
from tests.core.keptn.transports.over_nats import Taken, event, report, transport
from tests.nats_server import NatsServer, cluster
from tests.waiting import until


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[list[NatsServer]]:
    async with cluster(tmp_path_factory.mktemp("cluster")) as made:
        yield made


class Ours:
    """A provider on all servers, what it received, and what it should have."""

    def __init__(self, jetstream: JetStreamContext, taken: Taken, ours: DirectNats) -> None:
        self.transport = ours
        self._jetstream = jetstream
        self._taken = taken
        self._sent: set[str] = set()

    async def leader(self) -> int:
        """The number of the server that leads the stream."""
        info = await self._jetstream.stream_info("keptn")
        assert info.cluster is not None
        return int(str(info.cluster.leader).removeprefix("n"))

    async def trigger(self) -> None:
        name, body = event()
        await until(lambda: _done(self._jetstream.publish(TRIGGERED, body, timeout=1)))
        self._sent.add(name)

    async def tell(self) -> None:
        await until(lambda: _done(self.transport.send(report())))

    async def has_all(self) -> None:
        await until(lambda: self._sent == {*self._taken.ids})


async def _done(work: Awaitable[object]) -> bool:
    try:
        await work
    except (NatsError, Undelivered):
        return False
    return True


@asynccontextmanager
async def provided(servers: list[NatsServer]) -> AsyncIterator[Ours]:
    urls = [server.url for server in servers]
    taken = Taken()
    async with servers[0].client(servers=urls, reconnect_time_wait=0.1) as keptn:
        jetstream = keptn.jetstream(timeout=1)
        stream = StreamConfig(name="keptn", subjects=["sh.keptn.>"], num_replicas=3)
        await until(lambda: _done(jetstream.add_stream(stream)))
        async with transport(",".join(urls), taken, stream="keptn") as ours:
            await until(lambda: ours.trouble is None)
            yield Ours(jetstream, taken, ours)


async def test_a_lost_leader_loses_nothing(servers: list[NatsServer]) -> None:
    async with provided(servers) as ours:
        await asyncio.gather(ours.trigger(), ours.tell())
        leader = servers[await ours.leader()]
        leader.stop(signal.SIGKILL)
        await asyncio.gather(ours.trigger(), ours.tell())
        await ours.has_all()
        await leader.start()


async def test_from_a_lame_duck_another_server_is_connected_to(
    servers: list[NatsServer], capsys: pytest.CaptureFixture[str]
) -> None:
    async with provided(servers) as ours:
        await ours.trigger()
        said = ""

        def is_said() -> bool:
            nonlocal said
            said += capsys.readouterr().out
            return "server=127.0.0.1:" in said

        await until(is_said)
        port = said.rpartition("server=127.0.0.1:")[2].split()[0]
        duck = next(server for server in servers if server.url.endswith(port))
        duck.send(signal.SIGUSR2)
        await until(lambda: "connected to NATS" in capsys.readouterr().out)
        await asyncio.gather(ours.trigger(), ours.tell())
        await ours.has_all()
