"""A NATS server between the load, the provider and the sink, as Keptn has one."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import StreamConfig

from bench.servers import LOAD_CORE, LOOK_SECONDS, START_SECONDS
from bench.sink import Sink

NATS_SERVER = Path(sys.executable).with_name("nats-server")
_TRIGGERED, _REPORTS = "sh.keptn.event.action.triggered", "sh.keptn.event.action.*"


class Bus:
    """Where events are published. `environment` leads a provider there."""

    def __init__(self, client: Client, environment: Mapping[str, str]) -> None:
        self.environment = environment
        self._client = client

    async def post(self, event: bytes) -> None:
        """Publish an event; nobody acknowledges it."""
        await self._client.publish(_TRIGGERED, event)


@asynccontextmanager
async def running(folder: Path, sink: Sink, *, stream: bool) -> AsyncIterator[Bus]:
    """A server on the load's core, with or without a stream, whose reports the sink takes."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    config = {"host": "127.0.0.1", "port": port, "jetstream": {"store_dir": str(folder / "nats")}}
    (folder / "nats.conf").write_text(json.dumps(config))
    with (folder / "nats.log").open("wb") as log:
        process = psutil.Popen(
            [str(NATS_SERVER), "-c", str(folder / "nats.conf")], stdout=log, stderr=log
        )
    process.cpu_affinity([LOAD_CORE])
    url = f"nats://127.0.0.1:{port}"
    client = Client()

    async def take(message: Msg) -> None:
        sink.take(message.data)

    try:
        await _connect(client, url)
        if stream:
            made = StreamConfig(name="keptn", subjects=["sh.keptn.>"], max_msgs=10_000)
            await client.jetstream().add_stream(made)
        await client.subscribe(_REPORTS, cb=take)
        environment = {"REMEDY_TRANSPORT": "nats", "PUBSUB_URL": url}
        yield Bus(client, environment | ({"REMEDY_NATS_STREAM": "keptn"} if stream else {}))
        await client.close()
    finally:
        process.kill()
        process.wait()


async def _ignore(_: Exception) -> None:
    """It isn't there yet; nats-py would print it."""


async def _connect(client: Client, url: str) -> None:
    async with asyncio.timeout(START_SECONDS):
        while True:
            try:
                await client.connect(url, allow_reconnect=False, error_cb=_ignore)
            except OSError:
                await asyncio.sleep(LOOK_SECONDS)
            else:
                return
