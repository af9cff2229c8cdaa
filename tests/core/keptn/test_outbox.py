"""The outbox: in order, until acknowledged, never twice without asking."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson

from keptn_remedy import Outcome, events
from keptn_remedy.events import Replies, Report
from keptn_remedy.journal import Ending
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.keptn.outbox import Outbox
from keptn_remedy.keptn.transports import Blocked, Rejected, Undelivered
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import triggered
from tests.clocks import StandingClock
from tests.waiting import until

REPLIES = Replies("keptn-remedy")
REFUSED = Undelivered("connection refused", doubtful=False)
CUT = Undelivered("no answer", doubtful=True)


class FastClock(Clock):
    """Time that runs a thousand times faster than ours."""

    def __init__(self) -> None:
        self._began = super().now()

    def now(self) -> float:
        return self._began + (super().now() - self._began) * 1000

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        await super().wait(event, seconds / 1000)


class FasterClock(FastClock):
    """Pauses are short, and time between them passes as fast."""

    def monotonic(self) -> float:
        return super().monotonic() * 1000


class Desk:
    """An outbox on a real journal, and a recipient that answers as scripted."""

    def __init__(self, journal: SqliteJournal, clock: Clock, held_seconds: float) -> None:
        self.journal = journal
        self.clock = clock
        self.sent: list[tuple[str | None, str]] = []
        self.asked: list[str] = []
        self.script: list[Exception | None] = []
        self.has_counted: bool | None = False
        self.outbox = Outbox(
            journal,
            self._send,
            self._counted,
            replies=REPLIES,
            clock=clock,
            metrics=Metrics("test"),
            held_seconds=held_seconds,
        )

    async def _send(self, report: Report) -> None:
        await asyncio.sleep(0)
        error = self.script.pop(0) if self.script else None
        if error:
            raise error
        self.sent.append((report.execution, report.kind))

    async def _counted(self, report: Report) -> bool | None:
        self.asked.append(report.kind)
        return self.has_counted

    async def finish(self, event_id: str, *, logged: bool = False) -> None:
        """Run an execution through the journal, offering each report as the runner does."""
        trigger = events.stored_trigger(orjson.dumps(triggered("wait", id=event_id)))
        execution = await self.journal.accept(trigger, "wait")
        assert execution
        now = self.clock.utc()
        if unsent := await self.journal.begin(execution, REPLIES.started(trigger, now)):
            self.outbox.offer(unsent)
        reports = [
            REPLIES.finished(
                trigger, now, status="succeeded", result="pass", message="", details={}
            )
        ]
        if logged:
            reports.append(REPLIES.error_log(trigger, now, "failed"))
        for unsent in await self.journal.finish(
            execution, Ending(Outcome.passed("")), attempts=1, reports=reports
        ):
            self.outbox.offer(unsent)

    async def until_empty(self) -> None:
        async def empty() -> bool:
            return not (await self.journal.backlog()).unsent

        await until(empty)


@asynccontextmanager
async def desk(
    path: Path, clock: Clock | None = None, *, held_seconds: float = 0.0
) -> AsyncIterator[Desk]:
    clock = clock or FastClock()
    journal = SqliteJournal.open(path / "journal.db", now=clock.now)
    made = Desk(journal, clock, held_seconds)
    loop = asyncio.create_task(made.outbox.run())
    try:
        yield made
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        await made.outbox.close()
        await journal.close()


async def test_reports_of_one_execution_leave_in_order_and_the_log_entry_last(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as it:
        await it.finish("1", logged=True)
        await it.until_empty()
        assert it.sent == [("1", "started"), ("1", "finished"), ("1", "log.error")]


async def test_order_holds_while_the_first_report_is_refused(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        it.script = [REFUSED, REFUSED, REFUSED]
        await it.finish("1", logged=True)
        await it.until_empty()
        assert it.sent == [("1", "started"), ("1", "finished"), ("1", "log.error")]
        assert it.asked == []


async def test_a_report_whose_delivery_is_unknown_is_asked_about_before_it_is_repeated(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as it:
        it.script = [CUT]
        it.has_counted = True
        await it.finish("1")
        await it.until_empty()
        assert it.sent == [("1", "finished")]
        assert it.asked == ["started"]


async def test_what_keptn_did_not_count_is_sent_again(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        it.script = [CUT]
        await it.finish("1")
        await it.until_empty()
        assert it.sent == [("1", "started"), ("1", "finished")]
        assert it.asked == ["started"]


async def test_doubt_stays_until_it_is_settled(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        it.script = [CUT, REFUSED]
        await it.finish("1")
        await it.until_empty()
        assert it.asked == ["started", "started"]


async def test_while_keptn_cannot_say_what_it_has_nothing_is_repeated(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        it.script = [CUT]
        it.has_counted = None
        await it.finish("1")
        await until(lambda: len(it.asked) >= 3)
        assert it.sent == []
        it.has_counted = True
        await it.until_empty()
        assert it.sent == [("1", "finished")]


async def test_a_report_is_repeated_where_keptn_cannot_say_for_a_minute(tmp_path: Path) -> None:
    async with desk(tmp_path, FasterClock()) as it:
        it.script = [CUT]
        it.has_counted = None
        await it.finish("1")
        await it.until_empty()
        assert it.sent == [("1", "started"), ("1", "finished")]
        assert len(it.asked) > 1


async def test_a_doubtful_log_entry_is_sent_again_without_asking(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        it.script = [None, None, CUT]
        it.has_counted = True
        await it.finish("1", logged=True)
        await it.until_empty()
        assert it.sent == [("1", "started"), ("1", "finished"), ("1", "log.error")]
        assert it.asked == []


async def test_an_outage_of_many_executions_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        it.script = [REFUSED] * 400
        await asyncio.gather(*(it.finish(str(n)) for n in range(400)))
        await it.until_empty()
        assert len(it.sent) == len(set(it.sent)) == 800
        for number in range(400):
            mine = [kind for execution, kind in it.sent if execution == str(number)]
            assert mine == ["started", "finished"]


async def test_after_an_outage_new_reports_are_sent_straight_away_again(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        it.script = [REFUSED]
        await it.finish("1")
        await it.until_empty()
        async with asyncio.timeout(10):
            while it.outbox._feed.is_left:
                await it.finish(f"again {len(it.sent)}")
                await it.until_empty()


async def test_a_report_refused_for_good_is_parked_told_and_takes_its_finished_along(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as it:
        it.script = [Rejected("400")]
        await it.finish("1")
        await it.until_empty()
        assert it.sent == [(None, "log.error")]
        assert (await it.journal.backlog()).parked == 2
        await it.finish("2")
        await it.until_empty()
        assert it.sent[1:] == [("2", "started"), ("2", "finished")]


async def test_what_the_way_refuses_is_held_and_tried_every_half_minute(tmp_path: Path) -> None:
    clock, tried, reasons = StandingClock(), list[float](), set[str | None]()
    async with desk(tmp_path, clock) as it:
        it.script = [Blocked("the sidecar answered 404"), Blocked("the sidecar answered 401")]

        async def send(report: Report) -> None:
            tried.append(clock.monotonic())
            await it._send(report)

        async def all_told() -> bool:
            clock.forward(0.5)
            backlog = await it.journal.backlog()
            assert not backlog.parked
            reasons.add(backlog.blocked_because if backlog.blocked else None)
            return not backlog.unsent

        it.outbox._send = send
        await it.finish("1", logged=True)
        await until(all_told)
        assert it.sent == [("1", "started"), ("1", "finished"), ("1", "log.error")]
        assert [30 <= tried[n + 1] - tried[n] < 60 for n in range(2)] == [True, True]
        assert reasons == {None, "the sidecar answered 404", "the sidecar answered 401"}
        assert it.asked == []


async def test_a_parked_log_entry_makes_no_further_log_entry(tmp_path: Path) -> None:
    async with desk(tmp_path) as it:
        it.script = [None, None, Rejected("400")]
        await it.finish("1", logged=True)
        await it.until_empty()
        assert (await it.journal.backlog()).parked == 1
        assert [kind for _, kind in it.sent] == ["started", "finished"]


async def test_pauses_stay_short_in_the_first_minute_and_grow_to_half_a_minute(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path, Clock()) as it:
        await it.finish("1")
        await it.until_empty()
        unsent = await it.journal.owe(REPLIES.error_log(None, it.clock.utc(), ""))
        early = [it.outbox._pause(unsent, None) for _ in range(100)]
        assert max(early) <= 5
        assert it.outbox._pause(unsent, 600) == 5
        old = type(unsent)(unsent.handle, unsent.report, attempts=99, created_at=0)
        late = [it.outbox._pause(old, None) for _ in range(1000)]
        assert 5 < max(late) <= 30


async def test_a_pause_outlives_the_process(tmp_path: Path) -> None:
    async with desk(tmp_path, Clock()) as it:
        it.script = [Undelivered("busy", doubtful=False, retry_after=4.0)]
        await it.finish("1")

        async def postponed() -> bool:
            record = await it.journal.record("1")
            return bool(record and any(report.attempts for report in record.undelivered))

        await until(postponed)
    journal = SqliteJournal.open(tmp_path / "journal.db")
    await journal.recover(0.0)
    record = await journal.record("1")
    await journal.close()
    assert record
    assert (record.undelivered[0].due_at - record.accepted_at).total_seconds() > 3.5


async def test_a_report_sent_before_its_deletion_failed_is_not_sent_again(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as it:
        unsent = await it.journal.owe(REPLIES.error_log(None, it.clock.utc(), "once"))
        writer = it.journal._writing
        assert writer
        working, writer._connect = writer._connect, _disk_full
        writer._discard()
        it.outbox.offer(unsent)
        await until(lambda: it.journal.failure is not None)
        assert it.sent == [(None, "log.error")]
        writer._connect = working
        await it.until_empty()
        assert it.sent == [(None, "log.error")]


def _disk_full() -> sqlite3.Connection:
    raise OSError("no space left on device")


async def test_what_a_failing_journal_could_not_postpone_is_not_sent_again_meanwhile(
    tmp_path: Path,
) -> None:
    async with desk(tmp_path) as it:
        attempts: list[Report] = []

        async def cut_off(report: Report) -> None:
            attempts.append(report)
            raise CUT

        it.outbox._send = cut_off
        unsent = await it.journal.owe(REPLIES.error_log(None, it.clock.utc(), "once"))
        writer = it.journal._writing
        assert writer
        working, writer._connect = writer._connect, _disk_full
        writer._discard()
        it.outbox.offer(unsent)
        await until(lambda: it.journal.failure is not None)
        it.outbox._feed.look_again()
        await until(lambda: not it.outbox._feed.is_left)  # a look later
        assert len(attempts) == 1
        writer._connect = working
        it.outbox._send = it._send
        await it.until_empty()


async def test_a_report_leaves_at_once_while_an_earlier_one_is_still_to_be_forgotten(
    tmp_path: Path,
) -> None:
    clock = StandingClock()
    async with desk(tmp_path, clock) as it:
        await until(lambda: not it.outbox._feed.is_left)
        trigger = events.stored_trigger(orjson.dumps(triggered("wait")))
        execution = await it.journal.accept(trigger, "wait")
        assert execution
        started = await it.journal.begin(execution, REPLIES.started(trigger, clock.utc()))
        assert started
        it.outbox.offer(started)
        await until(lambda: len(it.sent) == 1)
        finished = REPLIES.error_log(trigger, clock.utc(), "failed")
        for unsent in await it.journal.finish(
            execution, Ending(Outcome.passed("")), attempts=1, reports=[finished]
        ):
            it.outbox.offer(unsent)
        await until(lambda: len(it.sent) == 2)
        assert (await it.journal.backlog()).unsent == 2


async def test_closing_forgets_what_was_delivered(tmp_path: Path) -> None:
    async with desk(tmp_path, Clock()) as it:
        await it.finish("1")
        await until(lambda: len(it.sent) == 2)
    journal = SqliteJournal.open(tmp_path / "journal.db")
    assert (await journal.backlog()).unsent == 0
    await journal.close()
