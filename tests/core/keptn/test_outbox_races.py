"""The outbox, when the journal is quicker than whoever stored a report."""

import asyncio
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from keptn_remedy import events
from keptn_remedy.events import Report
from keptn_remedy.journal import Claimed, Unsent
from keptn_remedy.journal.ownership import Alone
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.keptn.outbox import FLUSH_LOOK_SECONDS, Outbox
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import ImpatientClock, triggered
from tests.core.keptn.test_outbox import CUT, REPLIES, desk
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


class Lease(Alone):
    """A lease that a test lets end."""

    def __init__(self) -> None:
        self.holds = True
        self.asked_in_vain = 0

    def may_act(self) -> bool:
        self.asked_in_vain += not self.holds
        return self.holds


@pytest.mark.parametrize("is_renewed", [True, False])
async def test_what_is_left_to_another_replica_while_keptn_is_asked_is_not_sent_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_renewed: bool
) -> None:
    lease, asked = Lease(), list[int]()
    monkeypatch.setattr(SqliteJournal, "ownership", lease)
    async with desk(tmp_path) as it:
        it.script = [CUT]

        async def counted(report: Report) -> bool:
            asked.append(len(it.sent))
            if len(asked) == 1:  # the answer takes longer than the lease
                lease.holds = is_renewed
                it.outbox.lose()
            return False

        it.outbox._counted = counted
        await it.finish("1")
        if not is_renewed:
            await until(lambda: lease.asked_in_vain > 2)
            assert it.sent == []
            lease.holds = True
        await it.until_empty()
        assert it.sent == [("1", "started"), ("1", "finished")]
        assert asked == [0, 0]  # Keptn was asked anew before it was sent
