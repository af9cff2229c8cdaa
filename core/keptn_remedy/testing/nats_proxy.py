"""A proxy before a NATS server, which cuts, holds or silences what a provider publishes."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import urlsplit

_PUBLISHES = (b"PUB", b"HPUB")


@dataclass(frozen=True, slots=True)
class _Cut:
    subject: str | None
    passed_on: bool


class NatsProxy:
    """Passes on the connections of clients to a server, on a loopback port that stays the same."""

    def __init__(self, server: str) -> None:
        self._server = urlsplit(server)
        self._listener: asyncio.Server | None = None
        self._port = 0
        self._cuts: deque[_Cut] = deque()
        self._writers: set[asyncio.StreamWriter] = set()
        self._to_server, self._to_client = asyncio.Event(), asyncio.Event()
        self.release()

    @property
    def url(self) -> str:
        return f"nats://127.0.0.1:{self._port}"

    async def listen(self) -> None:
        """Take connections, on the same port as before."""
        self._listener = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def stop_listening(self) -> None:
        """Cut all connections and refuse new ones."""
        self.release()
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self.cut()

    def cut(self) -> None:
        """End all connections."""
        for writer in self._writers:
            writer.close()

    def cut_next(self, *, times: int = 1, passed_on: bool, subject: str | None = None) -> None:
        """End the connection at the next messages (to that subject), passed on or not."""
        self._cuts.extend([_Cut(subject, passed_on)] * times)

    def hold(self, *, passed_on: bool) -> None:
        """Let the server's words wait until `release`, and else the client's as well."""
        self._to_client.clear()
        if not passed_on:
            self._to_server.clear()

    def release(self) -> None:
        """Pass on again, what was held first."""
        self._to_client.set()
        self._to_server.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answers, server = await asyncio.open_connection(
                self._server.hostname, self._server.port, limit=2**22
            )
        except OSError:
            writer.close()
            return
        self._writers |= {writer, server}
        back = asyncio.create_task(self._pass_back(answers, writer))
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await self._pass_on(reader, server)
        finally:
            self._writers -= {writer, server}
            server.close()
            writer.close()
            back.cancel()

    async def _pass_back(self, answers: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while said := await answers.read(65536):
                await self._to_client.wait()
                writer.write(said)
                await writer.drain()
        writer.close()

    async def _pass_on(self, reader: asyncio.StreamReader, server: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            words = line.split()
            is_message = words[0].upper() in _PUBLISHES
            body = await reader.readexactly(int(words[-1]) + 2) if is_message else b""
            await self._to_server.wait()
            cut = self._due_cut(words[1].decode()) if is_message else None
            if cut is None or cut.passed_on:
                server.write(line + body)
                await server.drain()
            if cut is not None:
                return

    def _due_cut(self, subject: str) -> _Cut | None:
        for cut in self._cuts:
            if cut.subject in (None, subject):
                self._cuts.remove(cut)
                return cut
        return None
