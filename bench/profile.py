"""Where the processor time of one event goes: `python -m bench.profile [WAY]…`.

Prints a table in Markdown, in us of CPU for each event. The ways are `acknowledge`, `http`, `rails`
(over HTTP, with every guard-rail on), `nats` and `nats-stream`; without any, all of them.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import uvloop

from bench import bus, load, servers, sink
from bench.load import Rate
from bench.report import SCRATCH
from bench.scenarios import POLICY
from bench.servers import LOAD_CORE, LOOK_SECONDS, Server
from bench.sink import Sink

WAYS = ("acknowledge", "http", "rails", "nats", "nats-stream")
WARM_UP_SECONDS, SECONDS, WRITE_SECONDS = 1.0, 10.0, 30.0
LEAST_US = 0.5


async def main(ways: Sequence[str]) -> None:
    os.sched_setaffinity(0, {LOAD_CORE})
    SCRATCH.mkdir(exist_ok=True)
    found: dict[str, dict[str, float]] = {}
    async with sink.listening() as reports:
        for way in ways:
            reports.forget()
            with tempfile.TemporaryDirectory(prefix="bench-", dir=SCRATCH) as folder:
                found[way] = await _profile(way, Path(folder), reports)
    print(table(found))


def table(found: dict[str, dict[str, float]]) -> str:
    """The areas of all ways, the costliest first."""
    most = {
        area: max(each.get(area, 0.0) for each in found.values())
        for way in found.values()
        for area in way
    }
    rows = [("CPU, us per event", *found), ("---", *["---:"] * len(found))]
    rows += [
        (area, *(f"{each.get(area, 0.0):.0f}" for each in found.values()))
        for area in sorted(most, key=lambda area: -most[area])
        if most[area] >= LEAST_US
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


async def _profile(way: str, folder: Path, reports: Sink) -> dict[str, float]:
    """The us of CPU that each event costs, by area."""
    file = folder / "profile.json"
    is_stored_only = way == "acknowledge"
    async with AsyncExitStack() as stack:
        over = None
        if way.startswith("nats"):
            over = await stack.enter_async_context(
                bus.running(folder, reports, stream=way == "nats-stream")
            )
        provider = servers.provider(
            folder / "journal.db",
            reports,
            hold=is_stored_only,
            max_concurrent=1 if is_stored_only else None,
            policy=POLICY if way == "rails" else None,
            transport=over.environment if over else None,
            command=[sys.executable, "-m", "bench.sampled", str(file)],
        )
        server = await stack.enter_async_context(provider)
        if is_stored_only:
            await load.post_all(server, 1)
            await reports.until("started", 1)
        switching = asyncio.create_task(_switch(server))
        rate = await load.rate(
            server,
            warm_up=WARM_UP_SECONDS,
            seconds=SECONDS,
            until_finished_at=None if is_stored_only else reports,
            over=over,
        )
        await switching
        seconds = await _written(file)
    return _shares(seconds, rate)


async def _switch(server: Server) -> None:
    """Sample for as long as the rate is measured."""
    await asyncio.sleep(WARM_UP_SECONDS)
    server.process.send_signal(signal.SIGUSR1)
    await asyncio.sleep(SECONDS)
    server.process.send_signal(signal.SIGUSR1)


async def _written(file: Path) -> dict[str, float]:
    async with asyncio.timeout(WRITE_SECONDS):
        while not await asyncio.to_thread(file.exists):  # noqa: ASYNC110  another process writes it
            await asyncio.sleep(LOOK_SECONDS)
    found: dict[str, float] = json.loads(await asyncio.to_thread(file.read_text, "utf-8"))
    return found


def _shares(seconds: dict[str, float], rate: Rate) -> dict[str, float]:
    """What the sampler itself takes is left out: it is spread over all areas."""
    events = rate.per_second * SECONDS
    sampled = sum(seconds.values()) / events * 1e6
    scale = rate.cpu_us / sampled if sampled else 0.0
    shares = {area: spent / events * 1e6 * scale for area, spent in seconds.items()}
    return {"all of it": rate.cpu_us, **shares}


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1:] or WAYS))
