"""Few at once: who finds all places taken waits for a turn; and one at a time per target."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from keptn_remedy.engine.execution import MAX_RUNS
from tests.core.guardrails.railing import Ask, Rig, rigged
from tests.waiting import until

OTHER = Ask(("b",), service="orders")
THIRD = Ask(("c",), service="users")


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as rig:
        yield rig


async def waits(rig: Rig, ask: Ask = OTHER) -> str:
    """An execution that has found no place, and rests."""
    waiting = len(rig.service.engine.waiting_room)
    execution_id = await rig.deliver(ask)
    await until(lambda: len(rig.service.engine.waiting_room) > waiting)
    return execution_id


async def test_who_finds_all_places_taken_acts_once_another_ends(rig: Rig) -> None:
    rig.write("at_once: 1, turn_within: 5m")
    gate = rig.knobs.shut()
    async with rig.serving():
        first = await rig.deliver()
        await gate.until_entered(1)
        second = await waits(rig)
        assert rig.keptn.started(second)
        gate.open()
        assert [(await rig.ended(e)).result for e in (first, second)] == ["pass", "pass"]
    assert gate.most_at_once == 1


async def test_who_waits_for_a_turn_too_long_is_refused(rig: Rig) -> None:
    rig.write("at_once: 1, turn_within: 5m")
    gate = rig.knobs.shut()
    async with rig.serving():
        await rig.deliver()
        await gate.until_entered(1)
        second = await waits(rig)
        rig.clock.forward(301)
        ended = await rig.ended(second)
        rig.is_told(ended, "at-once", "the rule", executions=1, limit=1)
        assert (
            "is running or settling; the limit is 1; no turn came within 5m; the" in ended.message
        )
        assert rig.knobs.numbers == {"a": 2}
        gate.open()


async def test_who_waits_for_a_turn_takes_no_slot(rig: Rig) -> None:
    rig.write("at_once: 1")
    gate = rig.knobs.shut()
    async with rig.serving(max_concurrent=2):
        await rig.deliver()
        await gate.until_entered(1)
        second = await waits(rig)
        greeted = await rig.ask(Ask(action="greet", service="users"))
        assert greeted.result == "pass"
        gate.open()
        await rig.ended(second)


async def test_who_waits_for_a_turn_is_not_waited_for_when_leaving_and_waits_again_after_it(
    rig: Rig,
) -> None:
    rig.write("at_once: 1, settle: 10m, turn_within: 20m")
    async with rig.serving() as service:
        await rig.acts(Ask())
        await rig.acts(Ask(action="greet"))
        second = await waits(rig)
        async with asyncio.timeout(10):
            await service.drain()
    async with rig.serving() as service:
        await until(lambda: len(service.engine.waiting_room) > 0)
        rig.clock.forward(601)
        assert (await rig.ended(second)).result == "pass"


async def test_who_waits_for_a_turn_over_many_restarts_still_gets_it(rig: Rig) -> None:
    rig.write("at_once: 1, settle: 10m, turn_within: 20m")
    async with rig.serving():
        await rig.acts(Ask())
        second = await waits(rig)
    for _ in range(MAX_RUNS + 1):
        async with rig.serving() as service:
            await until(lambda: len(service.engine.waiting_room) > 0)
    async with rig.serving() as service:
        await until(lambda: len(service.engine.waiting_room) > 0)
        rig.clock.forward(601)
        assert (await rig.ended(second)).result == "pass"


async def test_effects_that_settle_take_places_until_they_have(rig: Rig) -> None:
    rig.write("at_once: 2, settle: 2m, turn_within: 5m")
    async with rig.serving():
        await rig.acts(Ask(), OTHER)
        third = await waits(rig, THIRD)
        rig.clock.forward(121)
        assert (await rig.ended(third)).result == "pass"


async def test_without_a_policy_ten_planned_executions_run_at_once_and_others_wait(
    rig: Rig,
) -> None:
    gate = rig.knobs.shut()
    async with rig.serving():
        asks = [Ask((f"knob {n}",), service=f"service {n}") for n in range(12)]
        ids = [await rig.deliver(ask) for ask in asks]
        await until(lambda: len(rig.service.engine.waiting_room) == 2)
        await gate.until_entered(10)
        gate.open()
        assert {(await rig.ended(i)).result for i in ids} == {"pass"}
    assert gate.most_at_once == 10


async def test_plain_actions_need_no_place(rig: Rig) -> None:
    gate = rig.knobs.shut()
    rig.write("at_once: 1")
    async with rig.serving():
        await rig.deliver()
        await gate.until_entered(1)
        assert (await rig.ask(Ask(action="greet", service="orders"))).result == "pass"
        gate.open()


async def test_one_execution_at_a_time_touches_a_target_and_the_next_plans_after_it(
    rig: Rig,
) -> None:
    gate = rig.knobs.shut()
    async with rig.serving():
        ids = [await rig.deliver(Ask(service=f"service {n}")) for n in range(5)]
        await gate.until_entered(1)
        gate.open()
        assert {(await rig.ended(i)).result for i in ids} == {"pass"}
    assert gate.most_at_once == 1
    assert rig.knobs.numbers == {"a": 6}


async def test_a_target_is_still_held_for_an_execution_that_a_restart_cut_off(rig: Rig) -> None:
    gate = rig.knobs.shut()
    async with rig.serving(drain_seconds=2):
        first = await rig.deliver()
        await gate.until_entered(1)
    gate = rig.knobs.shut()
    async with rig.serving():
        await gate.until_entered(1)
        assert gate.entered == [first]
        second = await rig.deliver(Ask(service="orders"))
        other = await rig.deliver(Ask(("b",), service="users"))
        await gate.until_entered(2)
        assert gate.entered == [first, other]
        gate.open()
        assert [(await rig.ended(e)).result for e in (first, second, other)] == ["pass"] * 3
    assert rig.knobs.numbers == {"a": 3, "b": 2}
