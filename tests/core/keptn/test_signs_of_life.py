"""Signs of life: what waits or runs is not timed out by Keptn."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pytest

from keptn_remedy.events import (
    FINISHED,
    STARTED,
    STATUS_CHANGED,
    Replies,
    Report,
    stored_trigger,
)
from keptn_remedy.journal import Execution, Unsent
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.keptn.signs_of_life import PERIOD_SECONDS, SignsOfLife
from keptn_remedy.keptn.transports import Rejected, Undelivered
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import FakeKeptn, triggered
from tests.clocks import MovedClock, StandingClock
from tests.providing import Gate, event_url, gated, provider
from tests.waiting import until

REPLIES = Replies("keptn-remedy")


@dataclass
class Desk:
    """Signs of life from a real journal, and a Keptn that answers as scripted."""

    journal: SqliteJournal
    clock: StandingClock
    sent: list[Report] = field(default_factory=list[Report])
    script: list[Exception] = field(default_factory=list[Exception])

    def __post_init__(self) -> None:
        self.signs = SignsOfLife(self.journal, self._send, REPLIES, self.clock, Metrics("test"))

    async def _send(self, report: Report) -> None:
        if self.script:
            raise self.script.pop(0)
        self.sent.append(report)

    async def begun(self, event_id: str) -> tuple[Execution, Unsent]:
        trigger = stored_trigger(orjson.dumps(triggered("wait", id=event_id, service=event_id)))
        execution = await self.journal.accept(trigger, "wait")
        assert execution
        started = await self.journal.begin(execution, REPLIES.started(trigger, self.clock.utc()))
        assert started
        return execution, started

    async def told(self, event_id: str) -> Execution:
        """An execution whose `started` Keptn has."""
        execution, started = await self.begun(event_id)
        await self.journal.forget([started])
        return execution

    async def sent_after(self, seconds: float) -> list[str | None]:
        """Whom the events are about that are sent when so much time has passed."""
        self.sent.clear()
        self.clock.forward(seconds)
        await self.signs.once()
        return [report.execution for report in self.sent]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = StandingClock()
    journal = SqliteJournal.open(tmp_path / "journal.db", now=clock.now)
    yield Desk(journal, clock)
    await journal.close()


async def test_each_begun_execution_is_told_of_every_three_minutes(desk: Desk) -> None:
    await desk.signs.once()
    await desk.told("1")
    assert await desk.sent_after(0) == []
    assert await desk.sent_after(PERIOD_SECONDS - 1) == []
    assert await desk.sent_after(1) == ["1"]
    await desk.told("2")
    assert await desk.sent_after(PERIOD_SECONDS - 1) == []
    assert await desk.sent_after(1) == ["1", "2"]
    event = orjson.loads(desk.sent[1].body)
    assert (event["type"], event["triggeredid"]) == (STATUS_CHANGED, "2")


async def test_what_an_earlier_process_began_is_told_of_at_once(desk: Desk) -> None:
    await desk.told("1")
    desk.clock.forward(2 * PERIOD_SECONDS)  # while nobody looks
    assert await desk.sent_after(0) == ["1"]
    assert await desk.sent_after(PERIOD_SECONDS - 1) == []
    assert await desk.sent_after(1) == ["1"]


async def test_nothing_is_told_of_what_was_aborted_or_whose_started_is_still_to_be_sent(
    desk: Desk,
) -> None:
    await desk.begun("unsent")
    aborted = await desk.told("aborted")
    await desk.journal.note_abort(aborted.id, "Keptn no longer waits for it")
    assert await desk.sent_after(PERIOD_SECONDS) == []


async def test_what_keptn_could_not_take_is_sent_at_the_next_look(desk: Desk) -> None:
    await desk.told("1")
    await desk.told("2")
    desk.script = [Undelivered("refused", doubtful=False)]
    assert await desk.sent_after(PERIOD_SECONDS) == []  # not even the second one
    assert await desk.sent_after(15) == ["1", "2"]


async def test_once_refused_nothing_more_is_sent(desk: Desk) -> None:
    await desk.told("1")
    desk.script = [Rejected("400")]
    running = asyncio.create_task(desk.signs.run())

    async def is_over() -> bool:
        desk.clock.forward(15)
        return running.done()  # it ends by itself

    await until(is_over)
    assert not desk.sent


async def test_a_task_lives_whose_started_keptn_counted_and_did_not_store(tmp_path: Path) -> None:
    clock, gate = MovedClock(), Gate()
    slow = gated(gate, timeout=10_000, deadline=10_000)
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "journal.db", keptn, slow, clock=clock) as service,
    ):
        keptn.miss_in_store(STARTED)
        event = triggered("wait")
        await keptn.deliver(event, to=event_url(service))
        await gate.until_entered(1)

        async def told() -> bool:
            clock.forward(15)
            return STATUS_CHANGED in {each.type for each in keptn.events_of(event["id"])}

        await until(told)
        with pytest.raises(ValueError, match="without a time-out"):
            keptn.time_out(event["id"])
        gate.open()
        await keptn.task_finished(event["id"])


async def test_a_keptn_that_validates_is_sent_one_and_takes_the_finished_all_the_same(
    tmp_path: Path,
) -> None:
    clock, gate = MovedClock(), Gate()
    slow = gated(gate, timeout=10_000, deadline=10_000)
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "journal.db", keptn, slow, clock=clock) as service,
    ):
        keptn.refuse_status_changed()
        event = triggered("wait")
        await keptn.deliver(event, to=event_url(service))
        await gate.until_entered(1)

        async def refused() -> bool:
            clock.forward(15)
            return service._signs_of_life._is_refused

        await until(refused)
        gate.open()
        await keptn.task_finished(event["id"])
        assert [each.type for each in keptn.events_of(event["id"])] == [STARTED, FINISHED]
