"""The figures of the journal on PostgreSQL, each beside SQLite or one replica in the same run."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import psutil
import psycopg

from bench import history, load, servers
from bench.measuring import Bench, Contender, Figure, compared
from bench.servers import LOAD_CORE, Server
from tests.postgres_server import PostgresServer

POLICY = Path(__file__).parent / "policy.yaml"
DELAY = Path(__file__).with_name("delay.py")
# There and back: 1.2 ms, as between two zones of a region.
ONE_WAY_SECONDS = 0.0006
LEASE_SECONDS = 5.0
LEFT = 20
MOST_REPLICAS = 3


@dataclass
class Database:
    """A PostgreSQL that keeps what it commits, and how busy it is."""

    server: PostgresServer

    @property
    def cpu_seconds(self) -> float:
        """Of all its processes that live now."""
        parent = psutil.Process(self.server.pid)
        times = [each.cpu_times() for each in (parent, *parent.children())]
        return sum(float(each.user + each.system) for each in times)

    def require_passes(self, url: str) -> None:
        """A refusal costs something else than an execution."""
        with psycopg.connect(url) as connection:
            found = connection.execute(
                "SELECT result, message FROM executions WHERE result <> 'pass' LIMIT 1"
            ).fetchone()
        if found:
            raise RuntimeError(f"not all passed: {found}")


@asynccontextmanager
async def running() -> AsyncIterator[Database]:
    server = PostgresServer(fsync="on", shared_buffers="128MB", autovacuum="on")
    try:
        await server.start()
        yield Database(server)
    finally:
        server.remove()


@asynccontextmanager
async def delayed(url: str) -> AsyncIterator[str]:
    """The URL of the same database by a way that takes longer."""
    port = url.rpartition(":")[2].partition("/")[0]
    process = psutil.Popen(
        [sys.executable, str(DELAY), port, str(ONE_WAY_SECONDS)], stdout=subprocess.PIPE
    )
    process.cpu_affinity([LOAD_CORE])
    try:
        told = await asyncio.to_thread(process.stdout.readline)
        yield url.replace(f":{port}/", f":{int(told)}/")
    finally:
        process.kill()
        process.wait()


async def postgres_loop(bench: Bench) -> Figure:
    """The whole loop without a policy, beside SQLite: CPU of our process per event."""
    return await _beside_sqlite(bench, "postgres-loop", None, target=1 / 1.25)


async def postgres_rails(bench: Bench) -> Figure:
    """The same with all rails asked, of both."""
    return await _beside_sqlite(bench, "postgres-rails", POLICY, target=1 / 1.5)


async def _beside_sqlite(bench: Bench, name: str, policy: Path | None, *, target: float) -> Figure:
    folder = bench.folder / name
    async with running() as database:
        url = database.server.create_database()
        async with (
            servers.provider(folder / "a" / "journal.db", bench.sink, policy=policy) as sqlite,
            servers.provider(
                folder / "b" / "journal.db", bench.sink, policy=policy, database=url
            ) as ours,
        ):
            figure = await compared(
                name,
                bench.effort,
                Contender(sqlite, bench.sink),
                Contender(ours, bench.sink),
                target=target,
            )
            share = await _share(bench, database, ours)
        database.require_passes(url)
    notes = {**figure.notes, "CPU us/event of the database": round(share)}
    return replace(figure, ratio=float(figure.notes["CPU ratio"]), notes=notes)


async def _share(bench: Bench, database: Database, ours: Server) -> float:
    """What the database takes of the processors for each event, in microseconds."""
    before, began = database.cpu_seconds, time.perf_counter()
    rate = await Contender(ours, bench.sink).rate(bench.effort)
    took = time.perf_counter() - began
    return (database.cpu_seconds - before) / took / rate.per_second * 1e6


async def postgres_history(bench: Bench) -> Figure:
    """The whole loop beside a long past, with an empty database as the floor."""
    folder, executions = bench.folder / "postgres-history", bench.effort.past_executions
    async with running() as database:
        empty, full = (database.server.create_database() for _ in range(2))
        await asyncio.to_thread(history.write_database, full, executions)
        [(size,)] = database.server.execute("SELECT pg_database_size(current_database())", full)
        async with (
            servers.provider(folder / "a" / "journal.db", bench.sink, database=empty) as without,
            servers.provider(folder / "b" / "journal.db", bench.sink, database=full) as ours,
        ):
            figure = await compared(
                "postgres-history",
                bench.effort,
                Contender(without, bench.sink),
                Contender(ours, bench.sink),
                target=0.95,
                notes={"finished executions": executions, "GB": round(size / 1e9, 2)},
            )
        database.require_passes(full)
    return figure


async def postgres_delayed(bench: Bench) -> Figure:
    """The rate by a way that adds 1.2 ms, beside the way that doesn't; no policy."""
    return await _beside_itself(bench, "postgres-delayed", None, target=0.8)


async def postgres_delayed_rails(bench: Bench) -> Figure:
    """The same with all rails asked, of both."""
    return await _beside_itself(bench, "postgres-delayed-rails", POLICY, target=0.5)


async def _beside_itself(bench: Bench, name: str, policy: Path | None, *, target: float) -> Figure:
    folder = bench.folder / name
    async with running() as database:
        near, far = (database.server.create_database() for _ in range(2))
        async with (
            delayed(far) as late,
            servers.provider(
                folder / "a" / "journal.db", bench.sink, policy=policy, database=near
            ) as direct,
            servers.provider(
                folder / "b" / "journal.db", bench.sink, policy=policy, database=late
            ) as ours,
        ):
            figure = await compared(
                name,
                bench.effort,
                Contender(direct, bench.sink),
                Contender(ours, bench.sink),
                target=target,
            )
        database.require_passes(far)
    return figure


async def postgres_replicas(bench: Bench) -> Figure:
    """What two and three replicas do in sum, all on one core, beside one."""
    async with running() as database, AsyncExitStack() as stack:
        url = database.server.create_database()
        alike = [
            await stack.enter_async_context(
                servers.provider(
                    bench.folder / f"{number}" / "journal.db", bench.sink, database=url
                )
            )
            for number in range(MOST_REPLICAS)
        ]
        rounds = [
            [await _sum(bench, alike[:number]) for number in range(1, MOST_REPLICAS + 1)]
            for _ in range(bench.effort.rounds)
        ]
    one, two, three = (median(each) for each in zip(*rounds, strict=True))
    ratio = median(min(two, three) / one for one, two, three in rounds)
    notes: dict[str, float | int | str] = {"two": round(two), "three": round(three)}
    return Figure("postgres-replicas", "events/s", three, 0.9, "higher", one, ratio, notes)


async def _sum(bench: Bench, alike: Sequence[Server]) -> float:
    """Events a second of all of them at once."""
    contenders = [
        Contender(each, bench.sink, first_service=number * load.CONNECTIONS)
        for number, each in enumerate(alike)
    ]
    rates = await asyncio.gather(*(each.rate(bench.effort) for each in contenders))
    return sum(rate.per_second for rate in rates)


async def postgres_takeover(bench: Bench) -> Figure:
    """From `kill -9` of a replica until another one has finished what that one had begun."""
    taken: list[float] = []
    for number in range(bench.effort.repeats):
        async with running() as database, AsyncExitStack() as stack:
            url = database.server.create_database()
            folder = bench.folder / f"takeover-{number}"
            victim = await stack.enter_async_context(
                servers.provider(folder / "a" / "journal.db", bench.sink, database=url, hold=True)
            )
            await stack.enter_async_context(
                servers.provider(folder / "b" / "journal.db", bench.sink, database=url)
            )
            bench.sink.forget()
            await load.post_all(victim, LEFT)
            await bench.sink.until("started", LEFT)
            await asyncio.sleep(2)
            began = time.perf_counter()
            victim.process.kill()
            await bench.sink.until("finished", LEFT)
            taken.append(time.perf_counter() - began)
    notes: dict[str, float | int | str] = {"executions": LEFT, "lease": f"{LEASE_SECONDS:g} s"}
    target = LEASE_SECONDS + 0.5
    return Figure("postgres-takeover", "s", max(taken), target, "lower", notes=notes)
