"""TLS in front of a plain server on a loopback port, as a gateway does."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from yarl import URL


class TlsFront:
    """Where it listens, and all that it has passed on to the server."""

    def __init__(self) -> None:
        self.url = ""
        self.passed_on = bytearray()


@asynccontextmanager
async def tls_front(server: str, tls: dict[str, Any]) -> AsyncIterator[TlsFront]:
    """A front of the server with that address; `tls` as `make_certificates` returns it."""
    front, to = TlsFront(), URL(server)

    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, note: bool
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if note:
                    front.passed_on += data
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            theirs, ours = await asyncio.open_connection(to.host, to.port)
            await asyncio.gather(pump(reader, ours, note=True), pump(theirs, writer, note=False))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(Path(tls["cert_file"]), Path(tls["key_file"]))
    listener = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    front.url = f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield front
    finally:
        listener.close()
