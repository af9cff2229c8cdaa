"""Listening for HTTP: both ports have limits, and on loopback they answer to known names only."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from keptn_remedy.http_server.connection import Connection, TooSlow, short
from keptn_remedy.http_server.hosts import KnownHosts, is_loopback
from keptn_remedy.http_server.limits import Limits, Refusals

__all__ = ["Handle", "Limits", "Listener", "Problem", "Refusals", "TooSlow", "listening", "short"]

SHUTDOWN_SECONDS = 0.3  # aiohttp may wait twice

Handle = Callable[[Any], Awaitable[web.StreamResponse]]
Problem = Callable[[int, str], web.StreamResponse]


class Listener(web.Server):
    """The open connections of a port. `problem` makes the answer to an error of its status and
    title.
    """

    def __init__(
        self,
        handle: Handle,
        problem: Problem,
        limits: Limits,
        refusals: Refusals,
        request_factory: Any = None,
    ) -> None:
        super().__init__(self._answer, request_factory=request_factory)
        self.problem = problem
        self.limits = limits
        self.refusals = refusals
        self._handle = handle
        self._hosts: KnownHosts | None = KnownHosts()
        self._open: set[Connection] = set()
        self._of_address: Counter[str] = Counter()

    def __call__(self) -> web.RequestHandler:
        return Connection(self)

    def answer_to(self, hosts: KnownHosts | None) -> None:
        """Answer only requests for these hosts, from now on; None for any."""
        self._hosts = hosts

    def admit(self, connection: Connection, transport: asyncio.BaseTransport) -> str | None:
        """Take a new connection in, or return why not. What is open already stays."""
        limits, address = self.limits, connection.address
        if len(self._open) >= limits.connections or (
            limits.per_address and self._of_address[address] >= limits.per_address
        ):
            why_not = "too many connections"
        elif limits.last_descriptor and _descriptor(transport) > limits.last_descriptor:
            why_not = "too many open files"
        else:
            self._open.add(connection)
            self._of_address[address] += 1
            return None
        self.refusals.note("full", why_not)
        return why_not

    def leave(self, connection: Connection) -> None:
        """A connection has ended."""
        self._open.discard(connection)
        self._of_address[connection.address] -= 1
        if not self._of_address[connection.address]:
            del self._of_address[connection.address]

    async def watch(self) -> None:
        """Look after slow clients, until cancelled."""
        seconds = self.limits.look_seconds
        while True:
            await asyncio.sleep(seconds)
            # Counted in looks: while the process itself stood still, nobody was slow.
            for connection in list(self._open):
                connection.look(seconds)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        if self._hosts and (why_not := self._hosts.objection(request.headers)):
            self.refusals.note("host", short(why_not))
            return self.problem(403, short(why_not))
        return await self._handle(request)


@asynccontextmanager
async def listening(
    served: Handle | web.Application,
    host: str,
    port: int,
    *,
    problem: Problem,
    limits: Limits,
    refusals: Refusals,
    names: Collection[str] = (),
) -> AsyncGenerator[int]:
    """Listen until the context is left; yields the port, also where 0 took a free one. `names` are
    further ones that a loopback port answers to.

    Raises:
        OSError: the address can't be bound (in use, or not permitted).
    """
    runner = _runner(served, problem, limits, refusals)
    await runner.setup()
    listener = runner.server
    if not isinstance(listener, Listener):
        raise TypeError("the runner has a server of its own")
    watch = asyncio.create_task(listener.watch())
    try:
        listener.answer_to(KnownHosts(names))
        await web.TCPSite(runner, host, port, reuse_address=True).start()
        if not all(is_loopback(address[0]) for address in runner.addresses):
            listener.answer_to(None)  # others than browsers of this machine may have any name
        yield int(runner.addresses[0][1])
    finally:
        watch.cancel()
        await runner.cleanup()


def _runner(
    served: Handle | web.Application, problem: Problem, limits: Limits, refusals: Refusals
) -> web.BaseRunner:
    if not isinstance(served, web.Application):
        listener = Listener(served, problem, limits, refusals)
        return web.ServerRunner(listener, shutdown_timeout=SHUTDOWN_SECONDS)

    class Runner(web.AppRunner):
        async def _make_server(self) -> web.Server:
            made = await super()._make_server()
            return Listener(made.request_handler, problem, limits, refusals, made.request_factory)

    return Runner(served, shutdown_timeout=SHUTDOWN_SECONDS)


def _descriptor(transport: asyncio.BaseTransport) -> int:
    """The number of its file descriptor: the lowest that was free, so it says how many are open."""
    return int(transport.get_extra_info("socket").fileno())
