"""The dispatcher: in turn for one service, side by side for others, and bounded."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import orjson
import pytest
from structlog.testing import capture_logs

from keptn_remedy import Outcome, events
from keptn_remedy.engine.dispatcher import ANNOUNCE_AFTER_SECONDS, Dispatcher
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.reporting import Reporting
from keptn_remedy.engine.slots import Slots
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.events import Replies
from keptn_remedy.journal import Ending, Execution, JournalError, Unsent
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.journal.store import Statement, Written
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import triggered
from tests.clocks import ShiftedClock
from tests.waiting import until

REPLIES = Replies("keptn-remedy")


class Yard:
    """A dispatcher on a real journal; each run is noted, and held while `hold` is set."""

    def __init__(self, journal: SqliteJournal, max_concurrent: int) -> None:
        self.journal = journal
        self.clock = ShiftedClock()
        self.order: dict[str, list[str]] = defaultdict(list)
        self.ran: list[str] = []
        self.announced: list[str] = []
        self.sent: list[Unsent] = []
        self.inside: set[str] = set()
        self.most = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self.ignores_cancellation = False
        self.is_holding = False
        self.slots = slots = Slots(max_concurrent)
        self.dispatcher = Dispatcher(
            journal,
            self._run,
            self._announce,
            Reporting(REPLIES, self.clock, self.sent.append),
            clock=self.clock,
            slots=slots,
            waiting_room=WaitingRoom(slots, self.clock),
            overdue=Overdue(),
            metrics=Metrics("test"),
        )

    async def _run(self, execution: Execution) -> None:
        assert execution.lane not in self.inside
        self.inside.add(execution.lane)
        self.most = max(self.most, len(self.inside))
        try:
            if not execution.is_begun:
                await self.journal.begin(
                    execution, REPLIES.started(execution.trigger, self.clock.utc())
                )
            await self._held()
            self.order[execution.trigger.service].append(execution.id)
            self.ran.append(execution.id)
            await self.journal.finish(execution, Ending(Outcome.passed("")), attempts=1)
        finally:
            self.inside.discard(execution.lane)

    async def _held(self) -> None:
        self.is_holding = True
        try:
            await self.hold.wait()
        except asyncio.CancelledError:
            if not self.ignores_cancellation:
                raise
            await self.hold.wait()
            raise ZeroDivisionError from None

    async def _announce(self, execution: Execution) -> bool:
        await self.journal.announce(execution, REPLIES.started(execution.trigger, self.clock.utc()))
        self.announced.append(execution.id)
        return True

    async def arrive(self, event_id: str, service: str) -> bool:
        trigger = events.stored_trigger(
            orjson.dumps(triggered("wait", id=event_id, service=service))
        )
        return await self.dispatcher.accept(trigger, "wait")

    async def until_ran(self, count: int) -> None:
        """However long all of them take; TimeoutError once none runs any more."""
        while (ran := len(self.ran)) < count:
            await until(lambda: len(self.ran) > ran)

    async def until_idle(self) -> None:
        await until(lambda: self.dispatcher._feed.is_open and not self.dispatcher.running)


@asynccontextmanager
async def yard(path: Path, max_concurrent: int = 4) -> AsyncIterator[Yard]:
    journal = SqliteJournal.open(path / "journal.db")
    made = Yard(journal, max_concurrent)
    loops = [
        asyncio.create_task(made.dispatcher.run()),
        asyncio.create_task(made.dispatcher.announce_late_ones()),
    ]
    made.dispatcher.look_again()
    try:
        yield made
    finally:
        for loop in loops:
            loop.cancel()
        await asyncio.gather(*loops, return_exceptions=True)
        await made.dispatcher.drain(0)
        await journal.close()


async def test_executions_of_one_service_run_in_the_order_of_arrival(tmp_path: Path) -> None:
    async with yard(tmp_path) as it:
        for number in range(30):
            await it.arrive(str(number), "carts")
        await it.until_ran(30)
        assert it.order["carts"] == [str(n) for n in range(30)]
        assert it.most == 1


async def test_executions_of_different_services_run_side_by_side_up_to_the_limit(
    tmp_path: Path,
) -> None:
    async with yard(tmp_path, max_concurrent=4) as it:
        it.hold.clear()
        for number in range(12):
            await it.arrive(str(number), f"service {number}")
        await until(lambda: len(it.inside) == 4)
        assert it.dispatcher.running == 4
        it.hold.set()
        await it.until_ran(12)
        assert it.most == 4


@pytest.mark.parametrize("max_concurrent", [1, 3, 50])
async def test_a_storm_on_few_services_runs_each_once_and_in_order(
    tmp_path: Path, max_concurrent: int
) -> None:
    async with yard(tmp_path, max_concurrent) as it:
        await asyncio.gather(*(it.arrive(str(n), f"service {n % 7}") for n in range(700)))
        await it.until_ran(700)
        assert len(set(it.ran)) == len(it.ran) == 700
        for service in range(7):
            assert it.order[f"service {service}"] == [str(n) for n in range(service, 700, 7)]


async def test_a_busy_service_does_not_hold_up_the_others(tmp_path: Path) -> None:
    async with yard(tmp_path, max_concurrent=2) as it:
        it.hold.clear()
        for number in range(50):
            await it.arrive(f"carts {number}", "carts")
        await it.arrive("orders", "orders")
        await until(lambda: len(it.inside) == 2)
        it.hold.set()
        await it.until_ran(51)
        assert it.ran.index("orders") <= 2


async def test_after_a_backlog_new_executions_start_straight_from_memory_again(
    tmp_path: Path,
) -> None:
    async with yard(tmp_path, max_concurrent=2) as it:
        await asyncio.gather(*(it.arrive(str(n), f"service {n}") for n in range(40)))
        await it.until_ran(40)
        await it.until_idle()
        await it.arrive("straight", "carts")
        assert "straight" in it.dispatcher._running


async def test_what_an_earlier_process_left_is_taken_up_before_what_arrives(
    tmp_path: Path,
) -> None:
    journal = SqliteJournal.open(tmp_path / "journal.db")
    for number in range(20):
        body = orjson.dumps(triggered("wait", id=f"left {number}"))
        await journal.accept(events.stored_trigger(body), "wait")
    await journal.close()
    async with yard(tmp_path) as it:
        await it.arrive("new", "carts")
        await it.until_ran(21)
        assert it.order["carts"] == [*(f"left {n}" for n in range(20)), "new"]


async def test_an_execution_that_waits_too_long_is_announced_once(tmp_path: Path) -> None:
    async with yard(tmp_path, max_concurrent=1) as it:
        it.hold.clear()
        for number in range(3):
            await it.arrive(str(number), "carts")
        it.clock.shift = ANNOUNCE_AFTER_SECONDS + 1
        for _ in range(2):
            task = asyncio.create_task(it.dispatcher.announce_late_ones())
            await until(lambda: len(it.announced) == 2)
            task.cancel()
        assert it.announced == ["1", "2"]
        it.hold.set()
        await it.until_ran(3)


async def test_what_starts_at_once_is_stored_begun_and_owes_its_started(tmp_path: Path) -> None:
    async with yard(tmp_path) as it:
        await it.arrive("earlier", "carts")
        await it.until_ran(1)
        await it.until_idle()
        it.sent.clear()
        it.hold.clear()
        assert await it.arrive("1", "carts")
        assert [(unsent.report.kind, unsent.report.execution) for unsent in it.sent] == [
            ("started", "1")
        ]
        assert (record := await it.journal.record("1"))
        assert record.state == "started"
        assert record.undelivered[0].kind == "started"
        assert it.dispatcher.running == 1
        it.hold.set()
        await it.until_ran(2)


async def test_a_known_trigger_takes_no_slot_and_no_lane(tmp_path: Path) -> None:
    async with yard(tmp_path, max_concurrent=1) as it:
        await it.arrive("1", "carts")
        await it.until_ran(1)
        await it.until_idle()
        assert not await it.arrive("1", "carts")
        assert it.slots.free == 1
        await it.arrive("2", "carts")
        await it.until_ran(2)


async def test_what_can_not_be_stored_takes_no_slot_and_no_lane(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with yard(tmp_path, max_concurrent=1) as it:
        await it.arrive("1", "carts")
        await it.until_ran(1)
        await it.until_idle()
        with monkeypatch.context() as failing:

            def fail(*statements: object) -> None:
                raise JournalError("the disk is full")

            failing.setattr(it.journal, "_write", fail)
            with pytest.raises(JournalError):
                await it.arrive("2", "carts")
        assert it.slots.free == 1
        await it.arrive("3", "carts")
        await it.until_ran(2)


async def test_what_is_being_stored_as_begun_is_carried_out_before_the_drain_ends(
    tmp_path: Path,
) -> None:
    async with yard(tmp_path) as it:
        await it.arrive("1", "carts")
        await it.until_ran(1)
        await it.until_idle()
        arriving = asyncio.create_task(it.arrive("2", "carts"))
        await asyncio.sleep(0)
        it.dispatcher.stop_starting()
        await it.dispatcher.drain(60)
        assert it.ran == ["1", "2"]
        await arriving


async def test_a_drain_does_not_wait_for_a_slow_disk_beyond_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with yard(tmp_path) as it:
        await it.arrive("1", "carts")
        await it.until_ran(1)
        await it.until_idle()
        written, write = asyncio.Event(), it.journal._write

        async def write_late(*statements: Statement) -> Written:
            await written.wait()
            return await write(*statements)

        monkeypatch.setattr(it.journal, "_write", write_late)
        arriving = asyncio.create_task(it.arrive("2", "carts"))
        await asyncio.sleep(0)
        it.dispatcher.stop_starting()
        await asyncio.wait_for(it.dispatcher.drain(0.01), 5)
        written.set()
        assert await arriving
        assert it.dispatcher.running == 0
        assert it.ran == ["1"]


async def test_nothing_is_started_while_draining_and_nothing_is_lost(tmp_path: Path) -> None:
    async with yard(tmp_path) as it:
        it.dispatcher.stop_starting()
        await it.arrive("1", "carts")
        await it.dispatcher.drain(1)
        assert it.ran == []
        found = await it.journal.claim(9)
        assert [execution.id for execution in found.items] == ["1"]


async def test_what_outlives_the_drain_is_waited_for_once_and_its_end_is_told(
    tmp_path: Path,
) -> None:
    async with yard(tmp_path) as it:
        it.ignores_cancellation = True
        it.hold.clear()
        await it.arrive("1", "carts")
        await until(lambda: it.is_holding)
        with capture_logs() as logged:
            await it.dispatcher.drain(0, cancel_seconds=0)
            await it.dispatcher.drain(60, cancel_seconds=60)  # has nothing to wait for
            it.hold.set()
            await until(lambda: "the runner failed" in [line["event"] for line in logged])


async def test_what_nobody_offered_is_found_even_while_a_look_is_under_way(tmp_path: Path) -> None:
    async with yard(tmp_path) as it:
        await it.arrive("1", "carts")
        await it.until_ran(1)
        for number in range(20):
            body = orjson.dumps(triggered("wait", id=f"silent {number}", service=f"s {number}"))
            execution = await it.journal.accept(events.stored_trigger(body), "wait")
            assert execution
            it.journal.release(execution)
            it.dispatcher.look_again()
        await it.until_ran(21)
