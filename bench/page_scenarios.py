"""What the page takes of the event loop, and of the rate while many look at it."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from aiohttp import ClientSession, ClientTimeout, TCPConnector

from bench import servers
from bench.measuring import Bench, Contender, Figure, compared

ROOT = Path(__file__).resolve().parents[1]
EXECUTIONS = 100_000
PAGES = 50
LOOKED_AT = ("/", "/executions", "/inbox", "/rails", "/actions")
_OPS_PORT = re.compile(r'"ops_port": ?(\d+)')
# Of the answers, so that a stream that nobody reads doesn't hold the server up.
CHUNK = 65_536


async def page(bench: Bench) -> Figure:
    """What the most expensive screen takes of the event loop, beside 100,000 executions."""
    taken = await asyncio.to_thread(_taken, bench.folder)
    screen = max(taken, key=lambda name: taken[name][0])
    notes: dict[str, float | int | str] = {"executions": EXECUTIONS, "screen": screen}
    return Figure("page", "ms of the loop", taken[screen][0], 100, "lower", notes=notes)


async def page_slice(bench: Bench) -> Figure:
    """The longest time for which any screen keeps the event loop, beside 100,000 executions."""
    taken = await asyncio.to_thread(_taken, bench.folder)
    screen = max(taken, key=lambda name: taken[name][1])
    notes: dict[str, float | int | str] = {"executions": EXECUTIONS, "screen": screen}
    return Figure("page-slice", "ms, longest", taken[screen][1], 10, "lower", notes=notes)


async def page_open(bench: Bench) -> Figure:
    """The whole loop while 50 pages are open, beside the whole loop while none is."""
    quiet, busy = (bench.folder / name / "journal.db" for name in ("page-none", "page-open"))
    public = {"REMEDY_PAGE_PUBLIC": "true"}
    async with (
        servers.provider(quiet, bench.sink, transport=public) as without,
        servers.provider(busy, bench.sink, transport=public) as ours,
        _open_pages(busy.with_suffix(".log")),
    ):
        return await compared(
            "page-open",
            bench.effort,
            Contender(without, bench.sink),
            Contender(ours, bench.sink),
            target=0.95,
            notes={"open pages": PAGES},
        )


def _taken(folder: Path) -> dict[str, tuple[float, float]]:
    """By screen, in milliseconds: in all, and the longest slice."""
    command = [sys.executable, "-m", "bench.screens", str(folder), str(EXECUTIONS)]
    told = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT).stdout
    return {
        name: (spent, most) for name, (spent, most) in json.loads(told.splitlines()[-1]).items()
    }


@asynccontextmanager
async def _open_pages(log: Path) -> AsyncIterator[None]:
    """Pages that follow the journal, and are read as they are sent."""
    told = await asyncio.to_thread(log.read_text, "utf-8")
    port = _OPS_PORT.findall(told)[0]
    connector = TCPConnector(limit=PAGES)
    async with (
        ClientSession(f"http://127.0.0.1:{port}", connector=connector) as session,
        AsyncExitStack() as opened,
        asyncio.TaskGroup() as readers,
    ):
        following: list[asyncio.Task[None]] = []
        for number in range(PAGES):
            at = {"at": LOOKED_AT[number % len(LOOKED_AT)]}
            stream = session.get("/live", params=at, timeout=ClientTimeout(total=None))
            answer = await opened.enter_async_context(stream)
            answer.raise_for_status()
            following.append(readers.create_task(_read(answer.content.iter_chunked(CHUNK))))
        yield
        for reader in following:
            reader.cancel()


async def _read(chunks: AsyncIterator[bytes]) -> None:
    async for _ in chunks:
        pass


PAGE_SCENARIOS: dict[str, Callable[[Bench], Awaitable[Figure]]] = {
    "page": page,
    "page-slice": page_slice,
    "page-open": page_open,
}
