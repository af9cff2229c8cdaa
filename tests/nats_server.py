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
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = int(free.getsockname()[1])
        folder.mkdir(parents=True, exist_ok=True)
        store = {"store_dir": str(folder / "store")}
        written = {"host": "127.0.0.1", "port": self.port, "jetstream": store, **config}
        (folder / "nats.conf").write_text(json.dumps(written))

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self.port}"

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

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    @contextlib.asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[Client]:
        """A client of the tests' own, as Keptn's services have one."""
        client = OrderedClient()
        await client.connect(self.url, **options)
        try:
            yield client
        finally:
            await client.close()
