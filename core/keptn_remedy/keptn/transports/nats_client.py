"""A client of NATS whose PONG confirms what was published before its PING."""

from __future__ import annotations

import asyncio

from nats.aio.client import PING_PROTO, Client
from nats.errors import ConnectionClosedError
from nats.js.client import JetStreamContext


class OrderedClient(Client):
    """Sends a PING after what was published and unsubscribed before it, and ends all waiting for
    answers with its connection. nats-py writes a PING past what its flusher has yet to write
    (findings/nats-early-ping.sh), and waits for an answer until its time-out.
    """

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        self._pongs.append(future or asyncio.get_running_loop().create_future())
        await self._send_command(PING_PROTO)
        await self._flush_pending()

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        try:
            await super()._close(status, do_cbs)
        finally:
            for waiting in (*self._pongs, *self._resp_map.values()):
                if not waiting.done():
                    waiting.set_exception(ConnectionClosedError())
                    waiting.exception()  # nobody may be left to hear it


def jetstream_of(client: Client) -> JetStreamContext:
    """The client's side of streams; nats-py annotates a part of its calls."""
    return client.jetstream()  # pyright: ignore[reportUnknownMemberType]
