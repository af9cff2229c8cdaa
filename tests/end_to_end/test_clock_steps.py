"""A wall clock that is set, forward or back, while a provider runs or while none does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from keptn_remedy import Action, Context, Outcome
from keptn_remedy.journal import JournalError
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.service import Service
from keptn_remedy.support.clock import Gap, Reading
from keptn_remedy.testing import FakeKeptn, triggered
from tests.clocks import MovedClock
from tests.core.guardrails.railing import ONE, Ask, Rig, rigged
from tests.log_lines import captured_logs
from tests.providing import Gate, Greet, event_url, gated, ops_url, provider
from tests.waiting import is_finished, until

HOUR, DAY = 3600.0, 86_400.0


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with rigged(tmp_path) as rig:
        yield rig


async def metric(service: Service, name: str) -> float:
    async with ClientSession() as session, session.get(ops_url(service, "/metrics")) as answer:
        lines = (await answer.text()).splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(name))


async def test_reports_are_sent_in_time_after_the_clock_was_set_back(tmp_path: Path) -> None:
    clock = MovedClock()
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "j.db", keptn, Greet, clock=clock) as service,
    ):
        await keptn.stop_listening()
        event = triggered("greet")
        await keptn.deliver(event, to=event_url(service))

        async def is_postponed() -> bool:
            record = await service.journal.record(event["id"])
            return bool(record and record.undelivered and record.undelivered[0].attempts)

        await until(is_postponed)
        clock.shift -= 5 * HOUR
        clock.forward(31)
        assert await metric(service, "remedy_oldest_unsent_report_seconds") >= 31
        await keptn.listen()
        clock.forward(31)
        assert (await keptn.task_finished(event["id"])).result == "pass"


async def test_an_abort_is_noticed_after_the_clock_was_set_back(tmp_path: Path) -> None:
    clock, gate = MovedClock(), Gate()
    wait = gated(gate, timeout=HOUR, deadline=HOUR)
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "j.db", keptn, wait, clock=clock, watch_seconds=0.05) as service,
    ):
        event = triggered("wait")
        await keptn.deliver(event, to=event_url(service))
        await gate.until_entered(1)
        clock.shift -= 5 * HOUR
        keptn.abort(event["id"])
        await is_finished(service.journal, event["id"])
        assert not keptn.finished(event["id"])


async def test_what_waits_for_its_turn_is_announced_in_time(tmp_path: Path) -> None:
    clock, gate = MovedClock(), Gate()
    wait = gated(gate, timeout=HOUR, deadline=HOUR)
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "j.db", keptn, wait, clock=clock, max_concurrent=1) as service,
    ):
        first, second = triggered("wait", service="a"), triggered("wait", service="b")
        for event in (first, second):
            await keptn.deliver(event, to=event_url(service))
        await gate.until_entered(1)
        clock.shift -= 5 * HOUR
        clock.forward(290)
        clock.forward(20)
        await until(lambda: bool(keptn.started(second["id"])))
        assert gate.entered == [first["id"]]
        gate.open()
        for event in (first, second):
            await keptn.task_finished(event["id"])


@pytest.mark.parametrize("restarts", [False, True])
async def test_forty_days_ahead_prunes_nothing_and_nothing_old_acts_again(
    rig: Rig, restarts: bool
) -> None:
    event = ONE.event()

    async def deliver() -> int:
        return (await rig.keptn.deliver(event, to=event_url(rig.service))).status

    async with rig.serving():
        assert await deliver() == 202
        await rig.ended(event["id"])
        rig.clock.shift += 40 * DAY
        rig.clock.forward(61)
        await until(lambda: bool(rig.log.saying("the clock was set")))
        assert await deliver() == 200
        if not restarts:
            rig.clock.shift -= 40 * DAY
            rig.clock.forward(61)
            assert await deliver() == 200
    for step in (40 * DAY, 0) if restarts else ():
        rig.clock.shift -= step
        async with rig.serving():
            rig.clock.forward(61)
            assert await deliver() == 200
    assert rig.knobs.numbers == {"a": 2}


@pytest.mark.parametrize("restarts", [False, True])
async def test_a_day_ahead_once_is_no_refusal_for_a_day(rig: Rig, restarts: bool) -> None:
    rig.write("at_most: [{executions: 1, within: 1h, per: stage}]")
    async with rig.serving():
        rig.clock.shift += DAY
        await rig.acts(ONE)
        if not restarts:
            rig.clock.shift -= DAY
            await is_free_after_an_hour(rig)
    if restarts:
        async with rig.serving():
            await rig.refused(
                ONE, "at-most", "the rule", executions=1, limit=1, within_seconds=3600
            )
        rig.clock.shift -= DAY
        async with rig.serving():
            await is_free_after_an_hour(rig)


async def is_free_after_an_hour(rig: Rig) -> None:
    await rig.refused(ONE, "at-most", "the rule", executions=1, limit=1, within_seconds=3600)
    rig.clock.forward(3601)
    await rig.acts(ONE)


@pytest.mark.parametrize("settings", ["cooldown: 1h", "once_within: 1h", "settle: 1h"])
@pytest.mark.parametrize("step", [-2 * HOUR, 2 * HOUR])
async def test_a_step_neither_frees_nor_blocks_a_rail(rig: Rig, settings: str, step: float) -> None:
    rig.write(settings)
    async with rig.serving():
        await rig.acts(ONE)
        rig.clock.shift += step
        assert "refused by guard-rail" in (await rig.ask()).message
        rig.clock.forward(3601)
        await rig.acts(ONE)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("step", [-2 * HOUR, 2 * HOUR])
async def test_silence_approves_after_its_full_time_and_not_later(
    rig: Rig, step: float, restarts: bool
) -> None:
    rig.write("mode: approve, approve_within: 15m, approval_default: approve")
    async with rig.serving():
        asking = await rig.asking()
        rig.clock.shift += step
        if not restarts:
            await approves_in_time(rig, asking)
    if restarts:
        async with rig.serving():
            await until(lambda: len(rig.service.engine.waiting_room) == 1)
            await approves_in_time(rig, asking)


async def approves_in_time(rig: Rig, asking: str) -> None:
    rig.clock.forward(880)
    await until(lambda: len(rig.service.engine.waiting_room) == 1)
    assert await rig.is_asking(asking)
    assert rig.knobs.numbers == {}
    rig.clock.forward(21)
    assert (await rig.ended(asking)).result == "pass"


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("step", [-2 * HOUR, 2 * HOUR])
async def test_an_undo_comes_after_its_full_time_and_not_later(
    rig: Rig, step: float, restarts: bool
) -> None:
    rig.write("undo: {after: 1h}")
    async with rig.serving():
        execution = (await rig.ask()).id
        rig.clock.shift += step
        if not restarts:
            await undoes_in_time(rig, execution)
    if restarts:
        async with rig.serving():
            await undoes_in_time(rig, execution)


async def undoes_in_time(rig: Rig, execution: str) -> None:
    async def state() -> str | None:
        undo = await rig.service.journal.undo_of(execution)
        return undo.state if undo else None

    rig.clock.forward(3500)
    await rig.service.journal.records()
    assert await state() == "armed"
    assert rig.knobs.numbers == {"a": 2}
    rig.clock.forward(101)

    async def is_done() -> bool:
        return await state() == "done"

    await until(is_done)
    assert rig.knobs.numbers == {"a": 1}


async def test_windows_follow_the_wall_clock(rig: Rig) -> None:
    rig.write("windows: [{days: [mon], from: '08:00', to: '17:00'}]")
    async with rig.serving():  # it is Monday, 12:00
        await rig.acts(ONE)
        rig.clock.shift += DAY
        ended = await rig.ask(Ask(service="orders"))
    assert "refused by guard-rail calendar" in ended.message


async def test_a_step_is_logged_and_counted_once(tmp_path: Path) -> None:
    clock = MovedClock()
    with captured_logs() as log:
        async with provider(tmp_path / "j.db", None, Greet, clock=clock) as service:
            for step in (-5 * HOUR, 2 * HOUR):
                clock.shift += step
                clock.forward(2)
                await until(lambda: bool(log.saying("the clock was set")))
            await until(lambda: len(log.saying("the clock was set")) == 2)
            assert await metric(service, 'remedy_clock_steps_total{direction="back"}') == 1
            assert await metric(service, 'remedy_clock_steps_total{direction="forward"}') == 1
        clock.shift += DAY
        async with provider(tmp_path / "j.db", None, Greet, clock=clock) as service:
            assert await metric(service, 'remedy_clock_steps_total{direction="forward"}') == 1
    told = [(line["direction"], line["seconds"]) for line in log.saying("the clock was set")]
    assert told == [("back", 18_000), ("forward", 7200), ("forward", 86_400)]


async def test_an_action_has_its_whole_time(tmp_path: Path) -> None:
    clock, left = MovedClock(), list[float]()

    class Look(Action):
        name = "look"
        deadline = 50

        async def run(self, context: Context, value: Any) -> Outcome:
            left.append(context.deadline - clock.now())
            clock.shift -= 2 * HOUR
            left.append(context.seconds_left)
            return Outcome.passed("looked")

    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "j.db", keptn, Look, clock=clock) as service,
    ):
        clock.shift += HOUR
        event = triggered("look")
        await keptn.deliver(event, to=event_url(service))
        await keptn.task_finished(event["id"])
    assert left == pytest.approx([50, 50], abs=5)


async def test_ages_are_taken_over_once_the_journal_works(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.write("cooldown: 1h")
    take_over, calls = SqliteJournal.take_over, list[Reading]()

    async def fail_once(journal: SqliteJournal, reading: Reading) -> Gap:
        calls.append(reading)
        if len(calls) == 1:
            raise JournalError("the disk is full")
        return await take_over(journal, reading)

    async with rig.serving():
        await rig.acts(ONE)
    rig.clock.shift += 2 * HOUR
    monkeypatch.setattr(SqliteJournal, "take_over", fail_once)
    async with rig.serving():
        assert "refused by guard-rail cooldown" in (await rig.ask()).message
    assert len(calls) == 2
