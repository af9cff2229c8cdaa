"""The outbox, when the journal is quicker than whoever stored a report."""

import asyncio
from dataclasses import replace
from pathlib import Path

import orjson

from keptn_remedy import events
from keptn_remedy.events import Report
from keptn_remedy.journal import Claimed, Unsent
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.keptn.outbox import FLUSH_LOOK_SECONDS, Outbox
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import ImpatientClock, triggered
from tests.core.keptn.test_outbox import REPLIES
from tests.waiting import until


async def test_a_report_that_is_offered_after_it_was_fetched_is_sent_once(tmp_path: Path) -> None:
    clock, sent, may_end = ImpatientClock(), list[str](), asyncio.Event()
    sending = asyncio.Event()

    async def send(report: Report) -> None:
        sent.append(report.kind)
        sending.set()
        await may_end.wait()

    async def counted(report: Report) -> bool:
        return False

    journal = SqliteJournal.open(tmp_path / "journal.db", now=clock.now)
    trigger = events.stored_trigger(orjson.dumps(triggered("wait")))
    execution = await journal.accept(trigger, "wait")
    assert execution
    unsent = await journal.begin(execution, REPLIES.started(trigger, clock.utc()))
    assert unsent
    journal.release_report(unsent)  # as if a look had come before `begin` returned
    outbox = Outbox(journal, send, counted, replies=REPLIES, clock=clock, metrics=Metrics("test"))
    loop = asyncio.create_task(outbox.run())
    await sending.wait()

    outbox.offer(replace(unsent, is_claimed=False))
    may_end.set()
    await outbox.flush()

    assert sent == ["started"]
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    await outbox.close()
    await journal.close()


async def test_flush_waits_for_a_look_that_is_under_way(tmp_path: Path) -> None:
    clock, sent, may_answer, looks = Clock(), list[str](), asyncio.Event(), list[int]()
    may_answer.set()

    class SlowJournal(SqliteJournal):
        async def claim_reports(self, limit: int) -> Claimed[Unsent]:
            looks.append(limit)
            await may_answer.wait()
            return await super().claim_reports(limit)

    async def send(report: Report) -> None:
        sent.append(report.kind)

    async def counted(report: Report) -> bool:
        return False

    journal = SlowJournal.open(tmp_path / "journal.db", now=clock.now)
    trigger = events.stored_trigger(orjson.dumps(triggered("wait")))
    execution = await journal.accept(trigger, "wait")
    assert execution
    unsent = await journal.begin(execution, REPLIES.started(trigger, clock.utc()))
    assert unsent
    outbox = Outbox(journal, send, counted, replies=REPLIES, clock=clock, metrics=Metrics("test"))
    loop = asyncio.create_task(outbox.run())
    await until(lambda: bool(looks) and not outbox._feed.is_left)
    journal.release_report(unsent)  # nobody offers it: only a look finds it
    may_answer.clear()

    flushing = asyncio.create_task(outbox.flush())
    await asyncio.wait([flushing], timeout=3 * FLUSH_LOOK_SECONDS)
    may_answer.set()
    await flushing

    assert sent == ["started"]
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)
    await outbox.close()
    await journal.close()
