"""Listening for HTTP: both ports have limits, and on loopback they answer to known names only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager

from aiohttp import web

from keptn_remedy.http_server.connection import (
    Handle,
    Listener,
    Problem,
    TooSlow,
    let_stream,
    short,
)
from keptn_remedy.http_server.hosts import KnownHosts, is_loopback
from keptn_remedy.http_server.limits import Limits, Refusals

__all__ = [
    "Handle",
    "Limits",
    "Listener",
    "Problem",
    "Refusals",
    "TooSlow",
    "let_stream",
    "listening",
    "short",
]

SHUTDOWN_SECONDS = 0.3  # aiohttp may wait twice


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
