"""A client of NATS whose PONG confirms what was published before its PING."""

# nats-py annotates a part of its members.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownLambdaType=false

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from nats.aio.client import DEFAULT_FLUSH_TIMEOUT, PING_PROTO, Client
from nats.aio.msg import Msg
from nats.errors import ConnectionClosedError
from nats.js.client import JetStreamContext

CANCEL_AGAIN_SECONDS = 1.0
_ABORT_AT_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER: on, no time


class OrderedClient(Client):
    """Sends a PING after what was published and unsubscribed before it, ends all waiting with its
    connection, and leaves a server without TLS that should have it.

    nats-py writes a PING past what its flusher has yet to write (findings/nats-early-ping.sh),
    waits for an answer until its time-out, and confirms without one once it reads no more.
    """

    async def flush(self, timeout: float = DEFAULT_FLUSH_TIMEOUT) -> None:  # noqa: ASYNC109
        if any(task is None or task.done() for task in (self._reading_task, self._flusher_task)):
            raise ConnectionClosedError
        await super().flush(timeout)  # type: ignore[arg-type]

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        # Not by `_send_command`, which waits for the server once much is pending.
        self._pending.append(PING_PROTO)
        self._pending_data_size += len(PING_PROTO)
        await self._flush_pending()

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        # nats-py takes `tls` for a wish: without it, passwords would go to whoever answers.
        if initial_connection and self.options.get("tls") and not info.get("tls_required"):
            if not info.get("tls_available"):
                raise ConnectionError("the server offers no TLS")
            info["tls_required"] = True
        await super()._process_info(info, initial_connection)

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        # Strange ones would end nats-py's reading; a message without any is answered as others are.
        try:
            return await super()._process_headers(headers)
        except (ValueError, IndexError):
            return None

    def _build_message(  # pyright: ignore[reportIncompatibleMethodOverride]  None: nats-py drops it
        self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: dict[str, str] | None
    ) -> Msg | None:
        try:
            message: Msg = super()._build_message(sid, subject, reply, data, headers)
        except UnicodeDecodeError:
            return None
        return message

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        waiting = [*self._pongs, *self._resp_map.values()]
        try:
            if waiting or not self.is_connected:
                self.break_off()
            await super()._close(status, do_cbs)
        except BaseException:
            self.break_off()  # the server took too long to read what was pending
            raise
        finally:
            for each in waiting:
                if not each.done():
                    each.set_exception(ConnectionClosedError())
                    each.exception()  # nobody may be left to hear it
            await self._end_flushes()

    async def _end_flushes(self) -> None:
        """Who waits until what is pending was written hears no more of the flusher."""
        while self._flush_queue and not self._flush_queue.empty():
            flush = self._flush_queue.get_nowait()
            if not flush.done():
                flush.set_result(None)
            await asyncio.sleep(0)  # others may have waited for room in the queue

    def when_ended(self, tell: Callable[[], None]) -> None:
        """Call `tell` once nothing is read any more. nats-py doesn't tell of each end: `closed_cb`
        is left out where what was pending can't be written.
        """
        if self._reading_task is None:
            raise ConnectionClosedError
        self._reading_task.add_done_callback(lambda _: tell())

    def break_off(self) -> None:
        """What still waits in a buffer here, or in the kernel, must not arrive once its sender was
        told that nothing confirms it.
        """
        self._pending.clear()
        self._pending_data_size = 0
        writer: asyncio.StreamWriter | None = getattr(self._transport, "_io_writer", None)
        if writer is not None:
            # uvloop has none any more after a reset.
            connection: socket.socket | None = writer.get_extra_info("socket")
            if connection is not None:
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
