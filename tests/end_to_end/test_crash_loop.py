"""An action that kills the process: only its execution is given up, not what ran beside it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import pytest

from keptn_remedy import Action, Change, Context, Outcome, Plan, PlannedAction
from keptn_remedy.engine.execution import MAX_RUNS
from keptn_remedy.service import Service, running
from keptn_remedy.testing import FakeKeptn, registry_of, triggered
from tests.providing import Gate, event_url, gated, provider, settings
from tests.waiting import until


class Kill(Action):
    """Kills the process, as far as one in a test can die: it says so, and never returns."""

    name = "kill"
    died: ClassVar[asyncio.Event]

    async def run(self, context: Context, value: Any) -> Outcome:
        self.died.set()
        await asyncio.Event().wait()
        return Outcome.passed("unheard of")


class Work(Action):
    """Takes its time."""

    name = "work"

    async def run(self, context: Context, value: Any) -> Outcome:
        await asyncio.sleep(0.02)
        return Outcome.passed("done")


async def all_acknowledged(service: Service) -> None:
    """Wait until no report is under way: one in doubt would be looked into for two seconds."""

    async def is_so() -> bool:
        return not (await service.journal.backlog()).unsent

    await until(is_so)


@pytest.mark.parametrize("place", [0, 2])
async def test_only_what_kills_the_process_is_given_up(tmp_path: Path, place: int) -> None:
    names = ["work", "work"]
    names.insert(place, "kill")
    asked = [triggered(name, service=f"s{number}") for number, name in enumerate(names)]
    journal = tmp_path / "journal.db"
    async with FakeKeptn() as keptn:
        for number in range(MAX_RUNS):
            Kill.died = asyncio.Event()
            async with running(settings(journal, keptn), registry_of(Kill, Work)) as service:
                for event in asked if number == 0 else ():
                    await keptn.deliver(event, to=event_url(service))
                await Kill.died.wait()
                await all_acknowledged(service)
                assert all(keptn.started(event["id"]) for event in asked)
                # Here all is cut off, and nothing drained.
        async with provider(journal, keptn, Kill, Work):
            outcomes = [await keptn.task_finished(event["id"]) for event in asked]
    results = [outcome.result for outcome in outcomes]
    assert results == ["fail" if name == "kill" else "pass" for name in names]
    (finished,) = keptn.finished(asked[place]["id"])
    assert "it was begun 10 times, and never came to its end" in finished.data["message"]


async def test_what_is_new_does_not_wait_behind_what_may_be_the_culprit(tmp_path: Path) -> None:
    gate, journal = Gate(), tmp_path / "journal.db"
    wait = gated(gate)
    old = [triggered("wait", service=f"old {number}") for number in range(3)]
    new = triggered("wait", service="new")
    async with FakeKeptn() as keptn:
        for number in range(2):
            async with running(settings(journal, keptn), registry_of(wait)) as service:
                for event in old if number == 0 else ():
                    await keptn.deliver(event, to=event_url(service))
                await gate.until_entered(3 * (number + 1))
        async with provider(journal, keptn, wait) as service:
            await keptn.deliver(new, to=event_url(service))
            await gate.until_entered(8)
            assert set(gate.entered[6:]) == {old[0]["id"], new["id"]}
            await until(lambda: len(service.engine.waiting_room) == 2)
            gate.open()
            for event in (*old, new):
                await keptn.task_finished(event["id"])


async def test_what_keptn_ended_while_it_waited_to_go_on_alone_does_not_begin(
    tmp_path: Path,
) -> None:
    gate, journal = Gate(), tmp_path / "journal.db"
    wait = gated(gate)
    first, second = (triggered("wait", service=f"s{number}") for number in range(2))
    async with FakeKeptn() as keptn:
        for number in range(2):
            async with running(settings(journal, keptn), registry_of(wait)) as service:
                for event in (first, second) if number == 0 else ():
                    await keptn.deliver(event, to=event_url(service))
                await gate.until_entered(2 * (number + 1))
                await all_acknowledged(service)
        async with provider(journal, keptn, wait) as service:
            await gate.until_entered(5)
            await until(lambda: len(service.engine.waiting_room) == 1)
            keptn.abort(second["id"])
            gate.open()
            await keptn.task_finished(first["id"])

            async def is_aborted() -> bool:
                record = await service.journal.record(second["id"])
                return record is not None and record.status == "aborted"

            await until(is_aborted)
    assert gate.entered[4:] == [first["id"]]


async def test_after_an_orderly_stop_nobody_is_suspected(tmp_path: Path) -> None:
    gate, journal = Gate(), tmp_path / "journal.db"
    wait = gated(gate)
    asked = [triggered("wait", service=f"s{number}") for number in range(3)]
    async with FakeKeptn() as keptn:
        config = settings(journal, keptn, drain_seconds=2)
        async with running(config, registry_of(wait)) as service:
            for event in asked:
                await keptn.deliver(event, to=event_url(service))
            await gate.until_entered(3)
        async with running(config, registry_of(wait)) as service:
            await gate.until_entered(6)
            await service.drain()
        async with provider(journal, keptn, wait):
            await gate.until_entered(9)
            gate.open()
            for event in asked:
                await keptn.task_finished(event["id"])


def holding(gate: Gate, planned: Gate) -> type[PlannedAction]:
    """A planned action that waits at one gate while it plans, and at another while it applies."""

    class Hold(PlannedAction):
        name = "hold"

        async def plan(self, context: Context, value: Any) -> Plan:
            await planned.passage(context.trigger.service)
            return Plan((Change("switch", "holder", None, context.trigger.service),))

        async def apply(self, context: Context, plan: Plan) -> None:
            await gate.passage(context.trigger.service)

        async def verify(self, context: Context, plan: Plan) -> Outcome:
            return Outcome.passed("held")

        async def undo(self, context: Context, plan: Plan) -> None:
            """Nothing was changed."""

    return Hold


async def test_orderly_stops_give_up_neither_what_acts_nor_what_waits_for_it(
    tmp_path: Path,
) -> None:
    gate, planned, journal = Gate(), Gate(), tmp_path / "journal.db"
    planned.open()
    hold = holding(gate, planned)
    acts, waits = (triggered("hold", service=name) for name in ("acts", "waits"))
    async with FakeKeptn() as keptn:
        for number in range(MAX_RUNS + 1):
            config = settings(journal, keptn, drain_seconds=2)
            async with running(config, registry_of(hold)) as service:
                if number == 0:
                    await keptn.deliver(acts, to=event_url(service))
                    await gate.until_entered(1)
                    await keptn.deliver(waits, to=event_url(service))
                await gate.until_entered(number + 1)
                await planned.until_entered(number + 2)
                await service.drain()
        gate.open()
        async with provider(journal, keptn, hold):
            outcomes = [await keptn.task_finished(event["id"]) for event in (acts, waits)]
    assert [outcome.result for outcome in outcomes] == ["pass", "pass"]
