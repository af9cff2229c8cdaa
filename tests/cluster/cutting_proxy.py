"""A TCP proxy before an API server: a test cuts it, or drops answers, at a chosen moment."""

from __future__ import annotations

import asyncio
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum, auto
from pathlib import Path
from urllib.parse import urlsplit

from tests.cluster.client import Cluster

TLS_APPLICATION_DATA = 0x17
CHUNK = 65536


class Way(Enum):
    OPEN = auto()
    LOSES_ANSWERS = auto()
    CUT = auto()


class CuttingProxy:
    """Use as `async with CuttingProxy.before(kubeconfig, tmp_path) as proxy`."""

    def __init__(self, host: str, port: int) -> None:
        self.kubeconfig = Path()  # of the same user, through the proxy
        self.accepted = 0  # connections so far, those that were cut at once among them
        self._upstream = host, port
        self._way = Way.OPEN
        self._open: set[_Connection] = set()

    @classmethod
    @asynccontextmanager
    async def before(cls, kubeconfig: Path, folder: Path) -> AsyncIterator[CuttingProxy]:
        """A proxy in front of the server that the kubeconfig names."""
        async with Cluster.connected(kubeconfig) as cluster:
            address = urlsplit(cluster.server)
            proxy = cls(address.hostname or "", address.port or 443)
            server = await asyncio.start_server(proxy._serve, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            here = address._replace(netloc=f"127.0.0.1:{port}").geturl()
            proxy.kubeconfig = cluster.write_kubeconfig(folder / f"{port}.kubeconfig", server=here)
        try:
            yield proxy
        finally:
            proxy.cut()
            server.close()
            await server.wait_closed()

    def cut(self) -> None:
        """Break every connection, and each new one, until `mend()`."""
        self._way = Way.CUT
        for connection in self._open:
            connection.abort()

    def lose_answers(self) -> None:
        """Let requests through, but none of their answers, until `cut()` or `mend()`."""
        self._way = Way.LOSES_ANSWERS

    def mend(self) -> None:
        """Let everything through again; connections that lost something break."""
        for connection in self._open:
            if connection.lost:
                connection.abort()
        self._way = Way.OPEN

    async def _serve(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.accepted += 1
        if self._way is Way.CUT:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._upstream)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, far_writer)
        self._open.add(connection)
        try:
            await self._pump(connection, reader, far_reader)
        finally:
            self._open.discard(connection)
            connection.abort()

    async def _pump(self, connection: _Connection, near: StreamReader, far: StreamReader) -> None:
        """Pass bytes on until either side ends."""
        directions = [
            asyncio.create_task(self._requests(connection, near)),
            asyncio.create_task(self._answers(connection, far)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _requests(self, connection: _Connection, near: StreamReader) -> None:
        while data := await near.read(CHUNK):
            connection.note(data)
            connection.far.write(data)
            await connection.far.drain()

    async def _answers(self, connection: _Connection, far: StreamReader) -> None:
        while data := await far.read(CHUNK):
            # The server's part of a TLS handshake comes before any request, so it is not an answer.
            if self._way is Way.LOSES_ANSWERS and connection.has_asked:
                connection.lost = True
            else:
                connection.near.write(data)
                await connection.near.drain()


class _Connection:
    """The two ends of a connection, and the TLS records that passed, by their headers."""

    def __init__(self, near: StreamWriter, far: StreamWriter) -> None:
        self.near, self.far = near, far
        self.has_asked = False
        self.lost = False
        self._unread = b""
        self._skip = 0

    def note(self, data: bytes) -> None:
        """Whether the client has sent application data; its handshake needs answers."""
        self._unread += data
        while not self.has_asked and len(self._unread) >= self._skip + 5:
            header = self._unread[self._skip : self._skip + 5]
            self.has_asked = header[0] == TLS_APPLICATION_DATA
            self._skip += 5 + int.from_bytes(header[3:])
        if self.has_asked:
            self._unread = b""

    def abort(self) -> None:
        self.near.transport.abort()
        self.far.transport.abort()
