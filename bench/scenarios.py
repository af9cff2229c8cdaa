"""The figures of the budget (docs/performance.md), and how each is measured."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from statistics import median

from bench import alerts, bus, databases, history, load, servers
from bench.measuring import Bench, Contender, Figure, compared
from bench.sink import Sink
from keptn_remedy.keptn.outbox import GRACE_SECONDS

IN_FLIGHT = 10_000
BURST = 10_000
FLOOD = 20_000
OPEN = 1_000
SETTLE_SECONDS = 2.0
HELD_SECONDS = 1.0  # the default of REMEDY_FINISHED_AFTER_SECONDS
RECOVERED_SECONDS = 1.5
POLICY = Path(__file__).parent / "policy.yaml"
NO_LIMITS = Path(__file__).parent / "no-limits.yaml"
HEAVY_MODULES = ("aiohttp", "kubernetes")


async def acknowledge(bench: Bench) -> Figure:
    """Events are only stored and acknowledged: the one slot is taken, and never frees."""
    journal = bench.folder / "acknowledge" / "journal.db"
    async with (
        servers.acknowledge_floor(bench.folder) as floor,
        servers.provider(journal, bench.sink, hold=True, max_concurrent=1) as ours,
    ):
        await load.post_all(ours, 1)
        await bench.sink.until("started", 1)
        return await compared(
            "acknowledge", bench.effort, Contender(floor), Contender(ours), target=0.55
        )


async def whole_loop(bench: Bench) -> Figure:
    """From the event to its `finished` at the sink."""
    journal = bench.folder / "whole-loop" / "journal.db"
    async with (
        servers.loop_floor(bench.folder, bench.sink) as floor,
        servers.provider(journal, bench.sink) as ours,
    ):
        return await compared(
            "whole-loop", bench.effort, Contender(floor), Contender(ours, bench.sink), target=0.60
        )


async def nats_loop(bench: Bench) -> Figure:
    """The whole loop over NATS, beside the floor over HTTP."""
    return await _over_nats(bench, "nats-loop", stream=False)


async def nats_stream_loop(bench: Bench) -> Figure:
    """The same from a stream and back to it."""
    return await _over_nats(bench, "nats-stream-loop", stream=True)


async def _over_nats(bench: Bench, name: str, *, stream: bool) -> Figure:
    """By CPU per event: client and server of the load take the other core to its limit."""
    journal = bench.folder / name / "journal.db"
    async with (
        servers.loop_floor(bench.folder, bench.sink) as floor,
        bus.running(bench.folder, bench.sink, stream=stream) as way,
        servers.provider(journal, bench.sink, transport=way.environment) as ours,
    ):
        figure = await compared(
            name,
            bench.effort,
            Contender(floor),
            Contender(ours, bench.sink, over=way),
            target=0.95,
            notes={"CPU us/event of distributor and unleash-service": "245-375"},
        )
    return replace(figure, ratio=float(figure.notes["CPU ratio"]))


async def held_back(bench: Bench) -> Figure:
    """The whole loop with each `finished` held back, beside the whole loop without."""
    # The first ones leave only then.
    effort = replace(bench.effort, warm_up=bench.effort.warm_up + HELD_SECONDS)
    async with (
        servers.provider(bench.folder / "at-once" / "journal.db", bench.sink) as at_once,
        servers.provider(
            bench.folder / "held" / "journal.db", bench.sink, finished_after=HELD_SECONDS
        ) as ours,
    ):
        floor = Contender(at_once, bench.sink, next_at_started=True)
        held = Contender(ours, bench.sink, next_at_started=True)
        return await compared("held", effort, floor, held, target=0.9)


async def in_flight(bench: Bench) -> Figure:
    """Memory while 10,000 executions run at once."""
    journal = bench.folder / "in-flight" / "journal.db"
    async with servers.provider(journal, bench.sink, hold=True, max_concurrent=IN_FLIGHT) as server:
        idle = server.megabytes
        await load.post_all(server, IN_FLIGHT)
        async with asyncio.timeout(load.ROUND_SECONDS):
            await bench.sink.until("started", IN_FLIGHT)
        await asyncio.sleep(SETTLE_SECONDS)
        return Figure(
            "in-flight",
            "MB RSS",
            server.megabytes,
            120,
            "lower",
            notes={"executions": IN_FLIGHT, "idle MB": round(idle, 1)},
        )


async def burst(bench: Bench) -> Figure:
    """The slowest acknowledgement of a burst, while its executions run and are reported."""
    taken: list[float] = []
    journal = bench.folder / "burst" / "journal.db"
    async with servers.provider(journal, bench.sink) as server:
        for _ in range(bench.effort.repeats):
            bench.sink.forget()
            taken += await load.post_all(server, BURST)
            async with asyncio.timeout(load.ROUND_SECONDS):
                await bench.sink.until("finished", BURST)
    taken.sort()
    notes = {
        "events": BURST,
        "bursts": bench.effort.repeats,
        "median s": round(median(taken), 4),
        "p99 s": round(taken[len(taken) * 99 // 100], 4),
    }
    return Figure("burst", "s, slowest", taken[-1], 1.0, "lower", notes={**notes})


async def flood(bench: Bench) -> Figure:
    """The most memory while 20,000 triggers that are published at once are carried out."""
    journal = bench.folder / "flood" / "journal.db"
    bench.sink.forget()
    async with (
        bus.running(bench.folder, bench.sink, stream=False) as way,
        servers.provider(journal, bench.sink, transport=way.environment) as server,
    ):
        idle, began = server.megabytes, time.perf_counter()
        for number in range(FLOOD):
            await way.post(load.new_event(number)[1])
        async with asyncio.timeout(load.ROUND_SECONDS):
            await bench.sink.until("finished", FLOOD)
        notes = {
            "events": FLOOD,
            "idle MB": round(idle, 1),
            "seconds until all are finished": round(time.perf_counter() - began, 1),
        }
        return Figure("flood", "MB, peak", server.peak_megabytes, 150, "lower", notes={**notes})


async def recovery(bench: Bench) -> Figure:
    """From the start of the process after a `kill -9` until everything is finished and told.

    The kill comes while the first `started` wait for their answer: these are in doubt afterwards,
    and the provider lets Keptn count, asks it in vain, and sends them again.
    """
    seconds = [await _recovered(bench, number) for number in range(bench.effort.repeats)]
    return Figure(
        "recovery",
        "s, slowest",
        max(seconds),
        RECOVERED_SECONDS + GRACE_SECONDS,
        "lower",
        notes={
            "open executions": OPEN,
            "kills": len(seconds),
            "median s": round(median(seconds), 3),
        },
    )


async def _recovered(bench: Bench, number: int) -> float:
    journal = bench.folder / f"recovery-{number}" / "journal.db"
    await leave_open(journal, bench.sink)
    async with servers.provider(journal, bench.sink) as server:
        async with asyncio.timeout(load.ROUND_SECONDS):
            await bench.sink.until("finished", OPEN)
        return time.perf_counter() - server.began


async def leave_open(journal: Path, sink: Sink) -> None:
    """Kill a provider whose executions are all open, and whose first `started` are in doubt."""
    sink.forget()
    sink.silent = True
    async with servers.provider(journal, sink, hold=True) as server:
        await load.post_all(server, OPEN, listed_by=sink)
    sink.silent = False


async def long_history(bench: Bench) -> Figure:
    """The whole loop beside a long past, with an empty journal as the floor."""
    full = bench.folder / "history" / "journal.db"
    empty = bench.folder / "no-history" / "journal.db"
    executions = bench.effort.past_executions
    await asyncio.to_thread(history.write, full, executions)
    gigabytes = full.stat().st_size / 1e9
    try:
        async with (
            servers.provider(empty, bench.sink) as without,
            servers.provider(full, bench.sink) as ours,
        ):
            return await compared(
                "history",
                bench.effort,
                Contender(without, bench.sink),
                Contender(ours, bench.sink),
                target=0.95,
                notes={"finished executions": executions, "GB": round(gigabytes, 2)},
            )
    finally:
        shutil.rmtree(full.parent)


async def guard_rails(bench: Bench) -> Figure:
    """What every guard-rail adds to the whole loop, in us of CPU for each event."""
    figure = await _with_rails(bench, "rails")
    with_them, without = (
        float(figure.notes[f"{whose} CPU us/event"]) for whose in ("our", "floor")
    )
    return Figure("rails", "us CPU", with_them - without, 25, "lower", notes=figure.notes)


async def guard_rails_planned(bench: Bench) -> Figure:
    """The same for a planned action, beside a policy that lifts the limits that are built in."""
    return await _with_rails(bench, "rails-planned", is_planned=True)


async def guard_rails_history(bench: Bench) -> Figure:
    """As the first, both beside a long past."""
    executions = bench.effort.past_executions
    past = bench.folder / "past.db"
    await asyncio.to_thread(history.write, past, executions)
    try:
        return await _with_rails(bench, "rails-history", past=past)
    finally:
        past.unlink()


async def _with_rails(
    bench: Bench, name: str, *, is_planned: bool = False, past: Path | None = None
) -> Figure:
    journals = [bench.folder / name / kind / "journal.db" for kind in ("without", "with")]
    for journal in journals:
        journal.parent.mkdir(parents=True)
        if past:
            await asyncio.to_thread(shutil.copyfile, past, journal)
    actions = servers.PLANNED if is_planned else servers.PLAIN
    no_limits = NO_LIMITS if is_planned else None
    try:
        async with (
            servers.provider(journals[0], bench.sink, actions=actions, policy=no_limits) as without,
            servers.provider(journals[1], bench.sink, actions=actions, policy=POLICY) as ours,
        ):
            figure = await compared(
                name,
                bench.effort,
                Contender(without, bench.sink),
                Contender(ours, bench.sink),
                target=0.9,
                notes={"finished executions": bench.effort.past_executions} if past else None,
            )
        _require_passes(journals, after=bench.effort.past_executions if past else 0)
        return figure
    finally:
        shutil.rmtree(bench.folder / name)


def _require_passes(journals: Sequence[Path], after: int) -> None:
    """A refusal costs something else than an execution: none may be among what was measured."""
    for journal in journals:
        with closing(sqlite3.connect(journal)) as reader:
            found = reader.execute(
                "SELECT result, message FROM executions WHERE seq > ? AND result <> 'pass' LIMIT 1",
                (after,),
            ).fetchone()
        if found:
            raise RuntimeError(f"not all passed: {found}")


async def alerts_accepted(bench: Bench) -> Figure:
    """How long a message of 5 alerts takes until it is stored and accepted, at 200 a second."""
    p99, peak = await alerts.accepted(bench.folder / "alerts-accepted")
    return Figure("alerts-accepted", "ms, p99", p99, 50, "lower", notes={"peak MB": round(peak)})


async def alerts_one(bench: Bench) -> Figure:
    """How many messages of one alert are stored and accepted, beside the bare floor."""
    return await alerts.one_alert(bench.folder / "alerts-one", bench.effort)


async def alerts_steps(bench: Bench) -> Figure:
    """How late an act comes after its waiting time, or a verdict after its window."""
    act, verdict, peak = await alerts.steps(bench.folder / "alerts-steps")
    notes: dict[str, float | int | str] = {
        "first act s": round(act, 2),
        "verdict s": round(verdict, 2),
        "peak MB": round(peak),
    }
    return Figure("alerts-steps", "s, latest", max(act, verdict), 1, "lower", notes=notes)


async def alerts_large(bench: Bench) -> Figure:
    """How long one message of 5,000 alerts takes, and what it delays another port by."""
    took, delay = await alerts.large(bench.folder / "alerts-large")
    return Figure("alerts-large", "s", took, 1, "lower", notes={"longest delay ms": round(delay)})


async def alerts_open(bench: Bench) -> Figure:
    """What 10,000 open episodes cost of a core while nothing happens."""
    share, megabytes, delay = await alerts.idle(bench.folder / "alerts-open")
    notes: dict[str, float | int | str] = {
        "MB": round(megabytes),
        "longest delay ms": round(delay),
    }
    return Figure("alerts-open", "% of a core", share * 100, 5, "lower", notes=notes)


async def help_command(bench: Bench) -> Figure:
    """How long `remedy --help` takes beside importing what draws it, and what it imports."""
    return await asyncio.to_thread(_help, 10 * bench.effort.repeats)


def _help(runs: int) -> Figure:
    typer: list[float] = []
    ours: list[float] = []
    for _ in range(runs):
        typer.append(_seconds([sys.executable, "-c", "import typer"]))
        ours.append(_seconds([str(servers.REMEDY), "--help"]))
    heavy = _heavy_imports()
    return Figure(
        "help",
        "s, fastest",
        min(ours),
        3.0 if not heavy else 0.0,  # a heavy import misses the target, however fast
        "lower",
        floor=min(typer),
        ratio=min(ours) / min(typer),
        notes={"runs": runs, "heavy imports": ", ".join(heavy) or "none"},
    )


def _seconds(command: Sequence[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _heavy_imports() -> list[str]:
    command = [sys.executable, "-X", "importtime", str(servers.REMEDY), "--help"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    imported = {line.rpartition("|")[2].strip().partition(".")[0] for line in told.splitlines()}
    return [module for module in HEAVY_MODULES if module in imported]


SCENARIOS: dict[str, Callable[[Bench], Awaitable[Figure]]] = {
    "acknowledge": acknowledge,
    "whole-loop": whole_loop,
    "nats-loop": nats_loop,
    "nats-stream-loop": nats_stream_loop,
    "held": held_back,
    "in-flight": in_flight,
    "burst": burst,
    "flood": flood,
    "recovery": recovery,
    "history": long_history,
    "rails": guard_rails,
    "rails-planned": guard_rails_planned,
    "rails-history": guard_rails_history,
    "alerts-accepted": alerts_accepted,
    "alerts-one": alerts_one,
    "alerts-large": alerts_large,
    "alerts-steps": alerts_steps,
    "alerts-open": alerts_open,
    "help": help_command,
    "postgres-loop": databases.postgres_loop,
    "postgres-rails": databases.postgres_rails,
    "postgres-history": databases.postgres_history,
    "postgres-delayed": databases.postgres_delayed,
    "postgres-delayed-rails": databases.postgres_delayed_rails,
    "postgres-replicas": databases.postgres_replicas,
    "postgres-takeover": databases.postgres_takeover,
}
