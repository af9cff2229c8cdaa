"""A real NATS server on a loopback port, which tests stop, start again and freeze."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from nats.aio.client import Client

from keptn_remedy.keptn.transports.nats_client import OrderedClient
from tests.processes import die_with_parent

SERVER = Path(sys.executable).with_name("nats-server")
START_SECONDS = 10.0


class NatsServer:
    """One server with a stream store, always on the same port."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self.configure(**config)

    def configure(self, **config: Any) -> None:
        """Write its configuration, which `start` and SIGHUP read."""
        store = {"store_dir": str(self._folder / "store")}
        written = {"host": "127.0.0.1", "port": self.port, "jetstream": store, **config}
        (self._folder / "nats.conf").write_text(json.dumps(written))

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return (self._folder / "log").read_text()

    async def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(  # noqa: ASYNC220 - done in a moment
                [str(SERVER), "-c", str(self._folder / "nats.conf")],
                stdout=log,
                stderr=log,
                preexec_fn=die_with_parent,  # noqa: PLW1509 - one system call, nothing that locks
            )
        async with asyncio.timeout(START_SECONDS):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    writer.close()
                    return
                await asyncio.sleep(0.01)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(number)
            self._process.wait(10)
            self._process = None

    def send(self, number: signal.Signals) -> None:
        """SIGSTOP freezes it, SIGHUP has it read its configuration, SIGUSR2 is its lame duck."""
        assert self._process is not None
        self._process.send_signal(number)

    def freeze(self) -> None:
        self.send(signal.SIGSTOP)

    @contextlib.asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Client]:
        """A client of the tests' own, as Keptn's services have one."""
        client = OrderedClient()
        await client.connect(**{"servers": self.url, **options})
        try:
            yield client
        finally:
            await client.close()


@contextlib.asynccontextmanager
async def cluster(folder: Path) -> AsyncIterator[list[NatsServer]]:
    """Three servers that share their streams."""
    servers = [NatsServer(folder / str(number)) for number in range(3)]
    routes = [free_port() for _ in servers]
    for number, (server, port) in enumerate(zip(servers, routes, strict=True)):
        server.configure(
            server_name=f"n{number}",
            cluster={
                "name": "keptn",
                "host": "127.0.0.1",
                "port": port,
                "routes": [f"nats://127.0.0.1:{each}" for each in routes],
            },
        )
    try:
        await asyncio.gather(*(server.start() for server in servers))
        yield servers
    finally:
        for server in servers:
            server.stop(signal.SIGKILL)


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])
