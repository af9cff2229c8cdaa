"""Where the processor time of one event goes: `python -m bench.profile [WAY]…`.

Prints a table in Markdown, in us of CPU for each event. The ways are `acknowledge`, `http`, `rails`
(over HTTP, with every guard-rail on), `nats` and `nats-stream`; without any, all of them.
`recovery` is only measured when named: a whole restart, divided by its open executions.
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
from functools import partial
from pathlib import Path

import uvloop

from bench import bus, load, servers, sink
from bench.report import SCRATCH
from bench.sampled import FROM_START
from bench.scenarios import OPEN, POLICY, leave_open
from bench.servers import LOAD_CORE, LOOK_SECONDS, Server
from bench.sink import Sink

WAYS = ("acknowledge", "http", "rails", "nats", "nats-stream")
RECOVERY = "recovery"
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
                profile = _profile_recovery if way == RECOVERY else partial(_profile, way)
                found[way] = await profile(Path(folder), reports)
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
    return _shares(seconds, rate.cpu_us, rate.per_second * SECONDS)


async def _profile_recovery(folder: Path, reports: Sink) -> dict[str, float]:
    """The us of CPU that a restart takes for each open execution, from its start to the last
    `finished`, by area.
    """
    journal, file = folder / "journal.db", folder / "profile.json"
    await leave_open(journal, reports)
    command = [sys.executable, "-m", "bench.sampled", str(file), FROM_START]
    async with servers.provider(journal, reports, command=command) as server:
        async with asyncio.timeout(load.ROUND_SECONDS):
            await reports.until("finished", OPEN)
        cpu_seconds = server.cpu_seconds
        server.process.send_signal(signal.SIGUSR1)
        seconds = await _written(file)
    return _shares(seconds, cpu_seconds / OPEN * 1e6, OPEN)


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


def _shares(seconds: dict[str, float], cpu_us: float, events: float) -> dict[str, float]:
    """What the sampler itself takes is left out: it is spread over all areas."""
    sampled = sum(seconds.values()) / events * 1e6
    scale = cpu_us / sampled if sampled else 0.0
    shares = {area: spent / events * 1e6 * scale for area, spent in seconds.items()}
    return {"all of it": cpu_us, **shares}


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1:] or WAYS))
