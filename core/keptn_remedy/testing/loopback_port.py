"""A loopback port that can be closed for a while without another process getting it."""

from __future__ import annotations

import socket

from aiohttp import web


class LoopbackPort:
    """Serves an application. `number` stays the same after the first `listen`."""

    def __init__(self) -> None:
        self.number = 0
        self._runner: web.AppRunner | None = None
        self._reserved: socket.socket | None = None

    async def listen(self, application: web.Application) -> None:
        """Accept connections, on the same port as before."""
        self.let_go()
        self._runner = web.AppRunner(
            application,
            access_log=None,
            shutdown_timeout=0.01,  # held requests are cut off
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.number, backlog=1024).start()
        self.number = self._runner.addresses[0][1]

    async def close(self) -> None:
        """Cut all connections and refuse new ones."""
        if self._runner is None:
            return
        await self._runner.cleanup()
        self._runner = None
        # Bound but not listening: connections are refused, and no other process gets the port.
        self._reserved = socket.socket()
        self._reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._reserved.bind(("127.0.0.1", self.number))

    def let_go(self) -> None:
        """Release the port while it is closed."""
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
