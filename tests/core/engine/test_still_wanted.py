"""Before it acts on what may be over, an execution asks Keptn: ended, held, or refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace

import pytest

from keptn_remedy import Outcome
from keptn_remedy.engine.slots import Slots
from keptn_remedy.engine.still_wanted import ENDED, HOLD_SECONDS, StillWanted
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.journal import Execution, Unsent
from keptn_remedy.testing import ImpatientClock
from tests.core.engine import test_runner
from tests.core.engine.test_runner import PLAN, Lamp, Machine

Answer = bool | None
machine = test_runner.machine


class Keptn:
    """Answers from a list, the last of which it repeats; counts how often it was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers: Iterator[Answer] = iter(answers)
        self.asked = 0
        self.max_ages: list[float] = []
        self.last: Answer = None

    async def has_ended(self, execution: Execution, max_age: float) -> Answer:
        self.asked += 1
        self.max_ages.append(max_age)
        self.last = next(self.answers, self.last)
        return self.last


class HurriedClock(ImpatientClock):
    """One on which no wait takes time, either."""

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        await self.sleep(seconds)


def asking(machine: Machine, keptn: Keptn, stale_seconds: float = 600.0) -> Machine:
    """The same machine, which asks this Keptn."""
    clock = HurriedClock()
    hurried = machine.on(clock=clock).with_(waiting_room=WaitingRoom(Slots(9), clock))
    runtime, room = hurried.factory.runtime, hurried.waiting_room
    return hurried.with_(
        still_wanted=StillWanted(runtime, room, keptn.has_ended, stale_seconds=stale_seconds)
    )


async def left(machine: Machine, *, age: float = 3600.0, runs: int = 0) -> Execution:
    """An execution that an earlier process accepted so many seconds ago."""
    accepted_at = machine.clock.now() - age
    return replace(await machine.left(), accepted_at=accepted_at, runs=runs)


async def test_what_keptn_ended_is_closed_without_a_deed_or_a_word(machine: Machine) -> None:
    told: list[Unsent] = []
    keptn = Keptn(True)
    telling = Machine(asking(machine, keptn).factory, told.append)
    execution = await left(machine)
    outcome = await telling.run(execution)
    record = await machine.journal.record(execution.id)
    assert record
    assert (record.status, record.aborted, record.started_at) == ("aborted", ENDED, None)
    assert ENDED in outcome.message
    assert (Lamp.steps, told) == ([], [])


async def test_what_keptn_waits_for_is_carried_out(machine: Machine) -> None:
    keptn = Keptn(False)
    assert (await asking(machine, keptn).run(await left(machine))).result == "pass"
    assert keptn.asked == 1


async def test_what_was_just_accepted_is_begun_without_a_question(machine: Machine) -> None:
    keptn = Keptn(None)
    asked = asking(machine, keptn)
    assert (await asked.run(replace(await machine.left(), runs=0))).result == "pass"
    assert keptn.asked == 0


@pytest.mark.parametrize("age", [-18_000.0, 31.0])
async def test_what_is_older_or_of_unknown_age_is_asked_about(age: float, machine: Machine) -> None:
    keptn = Keptn(False)
    asked = asking(machine, keptn)
    execution = replace(await machine.left(), accepted_at=machine.clock.now() - age)
    await asked.run(execution)
    assert keptn.asked == 1


async def test_what_is_held_is_begun_when_keptn_answers(machine: Machine) -> None:
    keptn = Keptn(None, None, False)
    assert (await asking(machine, keptn).run(await left(machine))).result == "pass"
    assert keptn.asked == 3


async def test_what_is_old_is_refused_and_told_where_keptn_does_not_answer(
    machine: Machine,
) -> None:
    told: list[Unsent] = []
    telling = Machine(asking(machine, Keptn(None)).factory, told.append)
    before = telling.clock.monotonic()
    outcome = await telling.run(await left(machine, age=7200.0))
    assert (outcome.status, outcome.result) == ("succeeded", "fail")
    assert outcome.message.startswith("refused: it is 2h")
    assert outcome.details["rule"] == "REMEDY_STALE_AFTER"
    labels = {"rail": "stale", "rule": "REMEDY_STALE_AFTER", "action": "lamp"}
    registry = machine.factory.runtime.metrics.registry
    assert registry.get_sample_value("remedy_refusals_total", labels) == 1
    assert telling.clock.monotonic() - before >= HOLD_SECONDS
    kinds = [unsent.report.kind for unsent in told]
    assert kinds == ["started", "finished", "log.error"]
    assert Lamp.steps == []


@pytest.mark.parametrize(("age", "stale", "result"), [(60, 600, "pass"), (60, 90, "fail")])
async def test_what_is_not_too_old_acts_after_it_was_held(
    age: float,
    stale: float,
    result: str,
    machine: Machine,
) -> None:
    asked = asking(machine, Keptn(None), stale)
    assert (await asked.run(await left(machine, age=age))).result == result


async def test_an_age_that_is_not_known_is_too_old(machine: Machine) -> None:
    outcome = await asking(machine, Keptn(None)).run(await left(machine, age=-18_000.0))
    assert outcome.message.startswith("refused: its age is not known")


async def test_a_keptn_that_never_answers_holds_up_the_first_ones_only(machine: Machine) -> None:
    keptn = Keptn(None)
    asked = asking(machine, keptn)
    await asked.run(await left(machine, age=60))
    first = keptn.asked
    await asked.run(await left(machine, age=60))
    assert keptn.asked == first + 1


async def test_a_plan_that_a_cut_off_process_left_is_told_when_it_is_refused(
    machine: Machine,
) -> None:
    execution = replace(await left(machine, runs=1), plan=PLAN)
    outcome = await asking(machine, Keptn(None)).run(execution)
    assert "perhaps applied, and left" in outcome.message
    assert Lamp.steps == []


async def test_an_undo_that_was_cut_off_is_ended_without_a_question(machine: Machine) -> None:
    execution = replace(await left(machine, runs=1), plan=PLAN, failure=Outcome.failed("no"))
    await asking(machine, Keptn(True)).run(execution)
    assert Lamp.steps == ["undo"]


@pytest.mark.parametrize(("answers", "announced"), [((False,), 1), ((True,), 0), ((None,), 0)])
async def test_what_waits_for_its_turn_is_announced_only_where_keptn_waits_for_it(
    answers: tuple[Answer],
    announced: int,
    machine: Machine,
) -> None:
    told: list[Unsent] = []
    telling = Machine(asking(machine, Keptn(*answers)).factory, told.append)
    execution = await left(machine)
    assert await telling.runner.announce(execution) is bool(announced)
    assert len(told) == announced
    record = await machine.journal.record(execution.id)
    assert record
    assert (record.aborted is not None) is (answers == (True,))


async def test_after_a_minute_without_an_answer_it_is_announced_all_the_same(
    machine: Machine,
) -> None:
    told: list[Unsent] = []
    telling = Machine(asking(machine, Keptn(None)).factory, told.append)
    execution = await left(machine, age=400)
    assert not await telling.runner.announce(execution)
    await telling.clock.sleep(HOLD_SECONDS)
    assert await telling.runner.announce(execution)


async def test_what_rested_in_the_journal_is_asked_about_anew_however_young_it_is(
    machine: Machine,
) -> None:
    keptn = Keptn(True)
    asked = asking(machine, keptn)
    await asked.run(replace(await machine.left(), runs=0, has_begun=True))
    assert keptn.max_ages == [0.0]
    assert Lamp.steps == []
