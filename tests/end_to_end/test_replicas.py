"""Several real processes on one PostgreSQL, some killed or stopped: each trigger is answered once,
and no target is acted on twice at a time.

`REPLICA_SECONDS` lengthens it, `REPLICA_SEED` repeats a run that failed, `BURST_EVENTS` is how many
events the burst has.
"""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from itertools import pairwise
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from aiohttp import ClientError

from keptn_remedy.testing import FakeKeptn, triggered
from tests.end_to_end.provider_process import ProviderProcess, eventually
from tests.postgres_server import PostgresServer

REPLICAS = 3
SECONDS = float(os.environ.get("REPLICA_SECONDS", "0")) or 8.0
SEED = int(os.environ.get("REPLICA_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
LANES, TARGETS = 12, 4
# `BURST_EVENTS=1000` makes the same proof a long one.
BURST, BURST_LANES = int(os.environ.get("BURST_EVENTS", "150")), 10
# Longer than the lease, so that others take over what the stopped one had.
STOPPED_SECONDS = 6.5

ACTION = """
import asyncio, os, time
from pathlib import Path
from pydantic import BaseModel
from keptn_remedy import Change, Context, Outcome, Plan, PlannedAction

class Target(BaseModel):
    target: str

class Turn(PlannedAction):
    name = "turn"
    idempotent = True
    Value = Target

    async def plan(self, context: Context, value: Target) -> Plan:
        return Plan((Change(value.target, "state", "on", context.trigger.id),))

    async def apply(self, context: Context, plan: Plan) -> None:
        began = time.monotonic()
        await asyncio.sleep(0.03)
        line = f"{began} {time.monotonic()} {os.getpid()} {context.trigger.id}\\n"
        with (Path(os.environ["TRACES"]) / plan.changes[0].target).open("a") as lines:
            lines.write(line)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return Outcome.passed("turned")

    async def undo(self, context: Context, plan: Plan) -> None:
        pass
"""
POLICY = "version: 1\nrules: [{name: all, at_most: null, at_once: null}]"


class Replica(ProviderProcess):
    """One of several that start at once."""

    start_seconds = 90.0
    starts_cold = False


@pytest_asyncio.fixture
async def keptn() -> AsyncIterator[FakeKeptn]:
    async with FakeKeptn() as keptn:
        yield keptn


@pytest_asyncio.fixture
async def replicas(
    postgres: PostgresServer, keptn: FakeKeptn, tmp_path: Path
) -> AsyncIterator[Sequence[ProviderProcess]]:
    url = postgres.create_database()
    traces = tmp_path / "traces"
    traces.mkdir()
    (tmp_path / "policy.yaml").write_text(POLICY)
    async with AsyncExitStack() as stack:
        found: list[Replica] = []
        for number in range(REPLICAS):
            folder = tmp_path / f"replica-{number}"
            folder.mkdir()
            settings = {"journal": url, "policy": tmp_path / "policy.yaml", "drain_seconds": 5}
            process = Replica(folder, keptn, {"TRACES": str(traces)}, **settings)
            found.append(await stack.enter_async_context(process))
            (folder / "actions" / "turn.py").write_text(ACTION)
        for process in found:
            process.launch()
        for process in found:
            await process.ready()
        yield found


def event(number: int, lane: int | None = None) -> dict[str, Any]:
    value = {"target": f"target-{number % TARGETS}"}
    lane = number % LANES if lane is None else lane
    return triggered("turn", value, service=f"service-{lane}")


async def deliver(keptn: FakeKeptn, to: Sequence[ProviderProcess], sent: dict[str, Any]) -> None:
    """To each of these, as a distributor beside each of them does; one at least takes it."""

    async def one(process: ProviderProcess) -> bool:
        with suppress(ClientError, TimeoutError):
            async with asyncio.timeout(3):
                answer = await keptn.deliver(sent, to=process.url)
                return answer.status in (200, 202)
        return False

    while not any(await asyncio.gather(*map(one, to))):  # noqa: ASYNC110  they start again
        await asyncio.sleep(0.1)


class Turned(NamedTuple):
    """When an execution acted, by a clock that all processes share, and which replica's it was."""

    began: float
    ended: float
    pid: int
    trigger: str


def turns(path: Path) -> list[Turned]:
    """What acted on a target, in the order in which it began."""
    lines = (line.split() for line in path.read_text().splitlines())
    return sorted(
        Turned(float(began), float(ended), int(pid), id_) for began, ended, pid, id_ in lines
    )


def overlaps(traces: Path) -> Iterator[str]:
    for path in traces.iterdir():
        for before, after in pairwise(turns(path)):
            if after.began < before.ended:
                yield f"{path.name}: {before} and {after}"


async def until_answered(keptn: FakeKeptn, sent: Sequence[str], *, seconds: float = 60) -> None:
    await eventually(
        lambda: all(keptn.finished(trigger) for trigger in sent), "all answers", seconds=seconds
    )


def assert_answered_once(keptn: FakeKeptn, sent: Sequence[str]) -> None:
    assert [t for t in sent if len(keptn.finished(t)) != 1 or len(keptn.started(t)) != 1] == []
    answers = Counter(keptn.finished(trigger)[0].data["message"] for trigger in sent)
    assert set(answers) == {"turned"}


@pytest.mark.timeout(120 + 3 * SECONDS)
async def test_replicas_that_are_killed_and_stopped_answer_each_trigger_once(
    keptn: FakeKeptn, replicas: Sequence[ProviderProcess], tmp_path: Path
) -> None:
    dice = random.Random(SEED)  # noqa: S311  no secret
    sent: list[str] = []
    deliveries: set[asyncio.Task[None]] = set()
    until = time.monotonic() + SECONDS

    async def send() -> None:
        while time.monotonic() < until:
            one = event(len(sent))
            sent.append(one["id"])
            to = dice.sample(replicas, dice.choice((1, 1, 1, 2, 3)))
            deliveries.add(asyncio.create_task(deliver(keptn, to, one)))
            await asyncio.sleep(dice.uniform(0, 0.1))

    async def stop_one() -> None:
        replicas[0].send(SIGSTOP)
        await asyncio.sleep(min(STOPPED_SECONDS, SECONDS))
        replicas[0].send(SIGCONT)

    async def kill_some() -> None:
        while time.monotonic() < until:
            await asyncio.sleep(dice.uniform(0.5, 2))
            victim = dice.choice(replicas[1:])
            victim.kill()
            victim.launch()

    await asyncio.gather(send(), stop_one(), kill_some())
    for process in replicas:
        await process.ready()
    await asyncio.gather(*deliveries)
    await until_answered(keptn, sent)
    assert_answered_once(keptn, sent)
    assert list(overlaps(tmp_path / "traces")) == [], f"REPLICA_SEED={SEED}"


@pytest.mark.timeout(120 + BURST)
async def test_a_burst_over_all_replicas_keeps_the_order_of_each_lane(
    keptn: FakeKeptn, replicas: Sequence[ProviderProcess], tmp_path: Path
) -> None:
    dice = random.Random(SEED)  # noqa: S311  no secret
    sent: dict[int, list[str]] = {lane: [] for lane in range(BURST_LANES)}

    async def send(lane: int) -> None:
        for number in range(lane, BURST, BURST_LANES):
            one = event(number, lane)
            sent[lane].append(one["id"])
            # The first one of a lane begins where it arrives: so all replicas have lanes.
            beside = replicas[number % REPLICAS]
            await deliver(keptn, replicas if dice.random() < 0.2 else [beside], one)

    await asyncio.gather(*map(send, sent))
    triggers = [trigger for lane in sent.values() for trigger in lane]
    await until_answered(keptn, triggers, seconds=60 + BURST / 5)
    assert_answered_once(keptn, triggers)
    acted = sorted(turn for path in (tmp_path / "traces").iterdir() for turn in turns(path))
    for lane in sent.values():
        in_lane = [turn for turn in acted if turn.trigger in set(lane)]
        assert [turn.trigger for turn in in_lane] == lane, f"REPLICA_SEED={SEED}"
        assert all(after.began >= before.ended for before, after in pairwise(in_lane))
    assert len({turn.pid for turn in acted}) > 1
    assert list(overlaps(tmp_path / "traces")) == []


async def test_a_rolling_update_refuses_no_event_and_doubles_none(
    keptn: FakeKeptn, replicas: Sequence[ProviderProcess]
) -> None:
    sent: list[str] = []
    is_over = asyncio.Event()

    async def send() -> None:
        while not is_over.is_set():
            one = event(len(sent))
            sent.append(one["id"])
            ready = [process for process in replicas if process not in leaving]
            await deliver(keptn, ready[:1], one)
            await asyncio.sleep(0.01)  # the processes that start need the processor, too

    leaving: list[ProviderProcess] = []
    sending = asyncio.create_task(send())
    for process in replicas:
        leaving.append(process)
        assert (await process.stop()).code == 0
        await process.start()
        leaving.remove(process)
    is_over.set()
    await sending
    await until_answered(keptn, sent)
    assert_answered_once(keptn, sent)


async def test_a_database_that_is_away_means_503_and_not_ready_until_it_is_back(
    keptn: FakeKeptn, replicas: Sequence[ProviderProcess], postgres: PostgresServer
) -> None:
    process = replicas[0]
    postgres.stop()
    try:
        await eventually(lambda: not _is_up(postgres), "the server to be away")
        assert (await keptn.deliver(event(0), to=process.url)).status == 503
        async with asyncio.timeout(20):
            while await process.readiness() != 503:  # noqa: ASYNC110  another process
                await asyncio.sleep(0.05)
    finally:
        await postgres.start()
    for each in replicas:
        await each.ready()
    one = event(1)
    await deliver(keptn, replicas, one)
    await until_answered(keptn, [one["id"]])
    assert_answered_once(keptn, [one["id"]])


def _is_up(postgres: PostgresServer) -> bool:
    return postgres._answers()
