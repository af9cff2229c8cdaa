"""A client of NATS whose PONG confirms what was published before its PING."""

from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import suppress
from typing import Any

from nats.aio.client import PING_PROTO, Client
from nats.errors import ConnectionClosedError
from nats.js.client import JetStreamContext

CANCEL_AGAIN_SECONDS = 1.0
_ABORT_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, no time


class OrderedClient(Client):
    """Sends a PING after what was published and unsubscribed before it, ends all waiting for
    answers with its connection, and leaves a server without TLS that should have it.

    nats-py writes a PING past what its flusher has yet to write (findings/nats-early-ping.sh), and
    waits for an answer until its time-out.
    """

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # nats-py takes `tls` for a wish: without it, passwords would go to whoever answers.
        if initial_connection and self.options.get("tls") and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise ConnectionError("the server offers no TLS")
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        waiting = [*self._pongs, *self._resp_map.values()]
        if waiting:
            self.break_off()
        try:
            await super()._close(status, do_cbs)
        finally:
            for each in waiting:
                if not each.done():
                    each.set_exception(ConnectionClosedError())
                    each.exception()  # nobody may be left to hear it

    def break_off(self) -> None:
        """What still waits in a buffer here, or in the kernel, must not arrive once its sender was
        told that nothing confirms it.
        """
        self._pending.clear()
        self._pending_data_size = 0
        writer: asyncio.StreamWriter | None = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            connection: socket.socket = writer.get_extra_info("socket")
            with suppress(OSError):  # it is closed already
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT_AT_CLOSE)
            writer.transport.abort()


async def end(task: asyncio.Task[None]) -> None:
    """Cancel a task until it has ended: nats-py swallows cancellations."""
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=CANCEL_AGAIN_SECONDS)


def jetstream_of(client: Client) -> JetStreamContext:
    """The client's side of streams; nats-py annotates a part of its calls."""
    return client.jetstream()  # pyright: ignore[reportUnknownMemberType]
