"""A sidecar that answers 200 and loses the report: only what Keptn lacks is sent again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keptn_remedy.events import FINISHED, STARTED
from keptn_remedy.keptn.task_ends import AT_ONCE
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from tests.clocks import MovedClock
from tests.log_lines import LogLines, captured_logs
from tests.providing import Gate, Greet, event_url, gated, provider
from tests.waiting import until


async def _told(service: Service, execution_id: str) -> bool:
    record = await service.journal.record(execution_id)
    return bool(record and record.reported_at)


@pytest.mark.parametrize("lost", [[STARTED], [FINISHED], [STARTED, FINISHED]], ids=str)
async def test_what_was_lost_is_sent_again_after_a_minute_and_nothing_else(
    lost: list[str], tmp_path: Path
) -> None:
    clock = MovedClock()
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "journal.db", keptn, Greet, clock=clock) as service,
    ):
        for kind in lost:
            keptn.answer_next(200, event_type=kind)  # and it is not counted
        event = triggered("greet")
        await keptn.deliver(event, to=event_url(service))
        await until(lambda: _told(service, event["id"]))
        assert not keptn.is_complete(event["id"])
        posts = keptn.posts

        async def complete() -> bool:
            clock.forward(10)
            return keptn.is_complete(event["id"])

        await until(complete)
        assert keptn.posts == posts + len(lost)
        assert keptn.outcome(event["id"]).result == "pass"
        assert bool(keptn.sequence_message(event["id"])) is (lost != [STARTED])


async def test_a_lost_started_is_sent_again_while_the_action_runs(tmp_path: Path) -> None:
    clock, gate = MovedClock(), Gate()
    slow = gated(gate, timeout=10_000, deadline=10_000)
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "journal.db", keptn, slow, clock=clock) as service,
    ):
        keptn.answer_next(200, event_type=STARTED)
        event = triggered("wait")
        await keptn.deliver(event, to=event_url(service))
        await gate.until_entered(1)

        async def counted() -> bool:
            clock.forward(10)
            return bool(keptn.started(event["id"]))

        await until(counted)
        gate.open()
        assert (await keptn.task_finished(event["id"])).result == "pass"


async def test_an_execution_that_cant_be_read_stands_in_nobodys_way(tmp_path: Path) -> None:
    clock = MovedClock()
    with captured_logs() as log:
        await _one_damaged_one_lost(tmp_path / "journal.db", clock, log)
    assert not log.saying("the sweep failed unexpectedly")


async def _one_damaged_one_lost(path: Path, clock: MovedClock, log: LogLines) -> None:
    async with FakeKeptn() as keptn, provider(path, keptn, Greet, clock=clock) as service:
        damaged, lost = triggered("greet"), triggered("greet", service="orders")
        for event in (damaged, lost):
            keptn.answer_next(200, event_type=FINISHED)
            await keptn.deliver(event, to=event_url(service))
            await until(lambda: _told(service, event["id"]))  # noqa: B023  awaited at once
        with closing(sqlite3.connect(path)) as journal, journal:
            journal.execute("UPDATE executions SET event = '{}' WHERE id = ?", (damaged["id"],))

        async def complete() -> bool:
            clock.forward(10)
            return keptn.is_complete(lost["id"]) and bool(log.saying("an execution can't be read"))

        await until(complete)
        keptn.abort(damaged["id"])


async def test_what_keptn_counted_is_asked_about_once(tmp_path: Path) -> None:
    clock, gate = MovedClock(), Gate()
    slow = gated(gate, timeout=10_000, deadline=10_000)
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "journal.db", keptn, slow, clock=clock) as service,
    ):
        event = triggered("wait")
        await keptn.deliver(event, to=event_url(service))
        await gate.until_entered(1)

        async def asked() -> bool:
            clock.forward(10)
            return _asked_about(keptn, event) > 0

        await until(asked)
        sweeps = _lists(keptn)

        async def swept() -> bool:
            clock.forward(10)
            return _lists(keptn) >= sweeps + 3

        await until(swept)
        assert _asked_about(keptn, event) == 1
        assert len(keptn.started(event["id"])) == 1
        gate.open()
        await keptn.task_finished(event["id"])


def _lists(keptn: FakeKeptn) -> int:
    """How many sweeps there were: they ask for all projects."""
    return sum("/event/triggered/" in path and "project=" not in path for path in keptn.asked)


def _asked_about(keptn: FakeKeptn, event: dict[str, str]) -> int:
    return sum(f"keptnContext={event['shkeptncontext']}" in path for path in keptn.asked)


async def test_a_keptn_that_answers_nothing_is_asked_about_a_few_and_about_others_next_time(
    tmp_path: Path,
) -> None:
    """Each may take a time-out, and what was never delivered waits for the rest of the sweep."""
    clock, gate = MovedClock(), Gate()
    slow = gated(gate, timeout=10_000, deadline=10_000)
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "journal.db", keptn, slow, clock=clock) as service,
    ):
        running = [triggered("wait", service=f"s{number}") for number in range(3 * AT_ONCE)]
        for event in running:
            await keptn.deliver(event, to=event_url(service))
        await gate.until_entered(len(running))
        keptn.fail_at("sequence-execution")

        async def asked(about: int) -> bool:
            clock.forward(10)
            return sum(_asked_about(keptn, event) > 0 for event in running) >= about

        await until(lambda: asked(1))
        begun = _lists(keptn)
        await until(lambda: asked(2 * AT_ONCE))
        assert sum(_asked_about(keptn, event) > 0 for event in running) == 2 * AT_ONCE
        assert _lists(keptn) > begun
        keptn.recover("sequence-execution")
        await until(lambda: asked(len(running)))
        gate.open()
        for event in running:
            await keptn.task_finished(event["id"])
