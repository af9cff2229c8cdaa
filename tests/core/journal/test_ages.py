"""What a journal holds keeps its age, whatever the clocks did between two processes."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from keptn_remedy.journal import Alike, Arm, Ending, Execution, Last, Question
from keptn_remedy.journal.ages import LONGEST_PAUSE_SECONDS
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.support.clock import Clock, Gap, Reading, SteadyClock
from tests.core.journals import (
    DONE,
    PLAN,
    accepted,
    admitted,
    asked,
    done,
    due_reports,
    reports_of,
)

MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0
QUESTION = Question(PLAN, "rule", 0.0, 0.0, "approve")


class Machine(Clock):
    """A machine whose clocks are moved by hand."""

    def __init__(self) -> None:
        self.wall, self.since_boot, self.boot = 1_700_000_000.0, 1000.0, "boot"

    def now(self) -> float:
        return self.wall

    def monotonic(self) -> float:
        return self.since_boot

    def pass_(self, seconds: float) -> None:
        self.wall += seconds
        self.since_boot += seconds

    def reboot(self, seconds: float = 0.0) -> None:
        """Let so much time pass without any clock that tells."""
        self.boot += "'"
        self.wall += seconds
        self.since_boot = 10.0


class OnMachine(SteadyClock):
    """The clock of a process on a machine."""

    def __init__(self, machine: Machine) -> None:
        super().__init__(machine)
        self._machine = machine

    def reading(self) -> Reading:
        return super().reading()._replace(boot=self._machine.boot)


class Process:
    """A process that serves from the journal."""

    def __init__(self, path: Path, machine: Machine) -> None:
        self.clock = OnMachine(machine)
        self.journal = SqliteJournal.open(path, now=self.clock.now)

    async def finishes(self, event_id: str, *, undo_after: float) -> None:
        execution = await admitted(self.journal, event_id, "flag")
        arm = Arm(due_at=self.clock.now() + undo_after)
        await self.journal.finish(execution, Ending(DONE, arm=arm), attempts=1)

    async def asks(self, event_id: str, seconds: float) -> Execution:
        execution = await accepted(self.journal, event_id, event_id)
        now = self.clock.now()
        question = replace(QUESTION, asked_at=now, expires_at=now + seconds)
        await self.journal.ask(execution, question)
        return execution

    async def question_expires_in(self) -> float:
        (execution,) = await self.journal.questions(9)
        assert execution.question
        return execution.question.expires_at - self.clock.now()

    async def due_undos(self) -> list[str]:
        found = await self.journal.due_undos(self.clock.now(), 99)
        return [undo.execution.id for undo in found]

    async def acted_within(self, seconds: float) -> int:
        since = self.clock.now() - seconds
        return await asked(self.journal, lambda history: history.count(since, Alike("flag")))


@asynccontextmanager
async def serving(path: Path, machine: Machine) -> AsyncIterator[tuple[Process, Gap]]:
    process = Process(path, machine)
    yield process, await process.journal.take_over(process.clock.reading())
    await process.journal.note_reading(process.clock.reading())
    await process.journal.close()


@pytest.fixture
def machine() -> Machine:
    return Machine()


async def last_on_flag(journal: SqliteJournal) -> Last:
    last = await asked(journal, lambda history: history.last("flag"))
    assert last
    return last


STEPS = [-5 * HOUR, -2 * HOUR, 2 * HOUR, 24 * HOUR, 40 * DAY, -40 * DAY, 1000.0 - Machine().wall]


@pytest.mark.parametrize("step", STEPS)
async def test_a_report_is_withheld_for_its_own_pause(
    path: Path, machine: Machine, step: float
) -> None:
    async with serving(path, machine) as (process, _):
        journal = process.journal
        execution = await accepted(journal)
        started, _report = reports_of(execution, process.clock)
        unsent = await journal.begin(execution, started)
        assert unsent
        await journal.postpone(unsent, process.clock.now() + 30, "refused")
    machine.wall += step
    machine.pass_(29)
    async with serving(path, machine) as (process, gap):
        assert gap == Gap(ahead=step, step=step)
        assert await due_reports(process.journal) == []
        machine.pass_(2)
        assert await due_reports(process.journal)
        assert (await process.journal.backlog()).oldest_unsent_seconds == pytest.approx(31)


@pytest.mark.parametrize("step", STEPS)
async def test_an_execution_is_as_old_as_it_is(path: Path, machine: Machine, step: float) -> None:
    async with serving(path, machine) as (process, _):
        await accepted(process.journal)
    machine.wall += step
    machine.pass_(300)
    async with serving(path, machine) as (process, _):
        before = process.clock.now() - 299
        assert [e.id for e in await process.journal.unannounced(before, 9)] == ["1"]
        assert await process.journal.unannounced(before - 2, 9) == []
        assert (await process.journal.backlog()).oldest_open_seconds == pytest.approx(300)


@pytest.mark.parametrize("step", STEPS)
async def test_an_undo_and_an_approval_by_silence_come_in_their_time(
    path: Path, machine: Machine, step: float
) -> None:
    async with serving(path, machine) as (process, _):
        await process.finishes("1", undo_after=HOUR)
        await process.asks("2", HOUR)
    machine.wall += step
    machine.pass_(50 * MINUTE)
    async with serving(path, machine) as (process, _):
        assert await process.due_undos() == []
        assert await process.question_expires_in() == pytest.approx(10 * MINUTE, abs=0.01)
        machine.pass_(10 * MINUTE + 1)
        assert await process.due_undos() == ["1"]
        record = await process.journal.record("1")
        assert record
        assert record.finished_at == record.accepted_at


@pytest.mark.parametrize("step", STEPS)
async def test_what_rails_count_is_neither_freed_nor_kept_longer(
    path: Path, machine: Machine, step: float
) -> None:
    async with serving(path, machine) as (process, _):
        await done(process.journal, "1", "flag", settle=90.0)
    machine.wall += step
    machine.pass_(MINUTE)
    async with serving(path, machine) as (process, _):
        assert await process.acted_within(HOUR) == 1
        last = await last_on_flag(process.journal)
        assert last.ended_at == pytest.approx(process.clock.now() - MINUTE)
        assert last.settled_at == pytest.approx(process.clock.now() + 30)
        machine.pass_(HOUR)
        assert await process.acted_within(HOUR) == 0


async def test_on_another_machine_what_decides_something_waits_its_full_time(
    path: Path, machine: Machine
) -> None:
    """Whether a day has passed, or the clock is a day ahead, nobody knows."""
    async with serving(path, machine) as (process, _):
        await process.finishes("1", undo_after=HOUR)
        await process.asks("2", HOUR)
        machine.pass_(50 * MINUTE)
    machine.reboot(DAY)
    async with serving(path, machine) as (process, gap):
        assert gap == Gap(unknown=DAY)
        assert await process.due_undos() == []
        assert await process.question_expires_in() == pytest.approx(10 * MINUTE, abs=0.01)
        assert await process.acted_within(HOUR) == 0
        machine.pass_(10 * MINUTE + 1)
        assert await process.due_undos() == ["1"]


@pytest.mark.parametrize("moves", ["step", "reboot"])
async def test_what_only_looks_old_is_not_pruned(path: Path, machine: Machine, moves: str) -> None:
    async with serving(path, machine) as (process, _):
        await done(process.journal, "1", "flag")
        await accepted(process.journal, "newest")
        machine.pass_(DAY)
    if moves == "step":
        machine.wall += 40 * DAY
    else:
        machine.reboot(40 * DAY)
    async with serving(path, machine) as (process, _):
        journal = process.journal
        assert await journal.prune(process.clock.now() - 30 * DAY, 9) == 0
        assert await journal.known(["1"]) == {"1"}
        machine.pass_(28.9 * DAY)
        assert await journal.prune(process.clock.now() - 30 * DAY, 9) == 0
        machine.pass_(0.2 * DAY)
        assert await journal.prune(process.clock.now() - 30 * DAY, 9) == 1


async def test_a_day_ahead_and_back_leaves_everything_as_it_was(
    path: Path, machine: Machine
) -> None:
    for step in (DAY, -DAY):
        async with serving(path, machine) as (process, _):
            await done(process.journal, f"before {step}", "flag")
        machine.wall += step
    async with serving(path, machine) as (process, _):
        machine.pass_(HOUR + 1)
        assert await process.acted_within(HOUR) == 0
        assert await process.acted_within(HOUR + 2) == 2


async def test_what_lies_in_the_future_counts_as_new(path: Path, machine: Machine) -> None:
    """A release that kept no readings wrote it, while its clock was a day ahead."""
    machine.wall += DAY
    process = Process(path, machine)
    first = await done(process.journal, "1", "flag")
    second = await done(process.journal, "2", "flag")
    await process.finishes("3", undo_after=HOUR)
    await process.asks("4", HOUR)
    await process.journal.close()
    machine.wall -= DAY
    async with serving(path, machine) as (process, gap):
        assert gap == Gap(step=-DAY)
        assert await process.acted_within(1) == 3
        last = await last_on_flag(process.journal)
        assert last.handle > second.handle > first.handle
        assert await process.question_expires_in() == pytest.approx(HOUR, abs=0.01)
        waiting = await process.journal.unannounced(process.clock.now() + 1, 9)
        assert "4" in [execution.id for execution in waiting]
        machine.pass_(HOUR + 1)
        assert await process.acted_within(HOUR) == 0
        assert await process.due_undos() == ["3"]


async def test_a_report_from_the_future_is_due_soon(path: Path, machine: Machine) -> None:
    machine.wall += DAY
    process = Process(path, machine)
    execution = await accepted(process.journal)
    started, _ = reports_of(execution, process.clock)
    await process.journal.begin(execution, started)
    await process.journal.close()
    machine.wall -= DAY
    async with serving(path, machine) as (process, _):
        machine.pass_(LONGEST_PAUSE_SECONDS)
        assert await due_reports(process.journal)


async def test_many_restarts_are_remembered_as_few_jumps(
    path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keptn_remedy.journal.ages.MAX_JUMPS", 3)
    async with serving(path, machine) as (process, _):
        await done(process.journal, "1", "flag")
    for _ in range(5):
        machine.reboot(DAY)
        async with serving(path, machine):
            pass
    async with serving(path, machine) as (process, _):
        jumps = await process.journal.recall("", "jumps")
        assert isinstance(jumps, list)
        assert len(jumps) == 3
        assert await process.journal.prune(process.clock.now() - DAY, 9) == 0


async def test_who_writes_beside_a_service_goes_by_its_clock(path: Path) -> None:
    journal = SqliteJournal.open(path)
    system = Clock().reading()
    await journal.take_over(system._replace(now=system.now - 5 * HOUR))
    beside = SqliteJournal.beside(path)
    pause = await beside.pause("ann", "the service's clock was right")
    assert pause.since.timestamp() == pytest.approx(system.now - 5 * HOUR, abs=60)
    await beside.close()
    await journal.close()


@pytest.mark.parametrize("seed", range(12))
async def test_through_any_steps_and_restarts_no_wait_is_shorter_or_longer(
    path: Path, machine: Machine, seed: int
) -> None:
    """Time passes as the monotonic clock says; the wall clock goes wherever it likes."""
    chance = random.Random(seed)  # noqa: S311
    undo_after, within = chance.uniform(100, 10_000), chance.uniform(100, 10_000)
    async with serving(path, machine) as (process, _):
        await process.finishes("1", undo_after=undo_after)
        await process.asks("2", undo_after)
    passed = 0.0
    while passed < 10_000:
        machine.wall += chance.choice([0.0, chance.uniform(-1, 1) * 50 * DAY])
        async with serving(path, machine) as (process, _):
            seconds = chance.uniform(0, 3000)
            machine.pass_(seconds / 2)
            machine.wall += chance.choice([0.0, chance.uniform(-1, 1) * 50 * DAY])
            machine.pass_(seconds / 2)
            passed += seconds
            assert (await process.due_undos() == ["1"]) is (passed >= undo_after)
            left = await process.question_expires_in()
            assert left == pytest.approx(undo_after - passed, abs=0.1)
            assert await process.acted_within(within) == (1 if passed <= within else 0)
            assert await process.journal.prune(process.clock.now() - DAY, 9) == 0
