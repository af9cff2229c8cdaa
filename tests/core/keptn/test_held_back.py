"""`finished` is held back until Keptn has surely counted `started`."""

from __future__ import annotations

import asyncio
from pathlib import Path

from keptn_remedy.keptn.outbox import IN_FLIGHT
from keptn_remedy.support.workers import SPARE
from keptn_remedy.testing import FakeKeptn, triggered
from tests.clocks import StandingClock
from tests.core.keptn.test_outbox import CUT, Desk, desk
from tests.providing import Greet, event_url, provider
from tests.waiting import until


async def started(it: Desk, executions: int) -> None:
    await asyncio.gather(*(it.finish(str(n), logged=True) for n in range(executions)))
    await until(lambda: len(it.sent) == executions)


async def test_finished_leaves_once_its_time_has_come_and_what_follows_it_then(
    tmp_path: Path,
) -> None:
    clock = StandingClock()
    async with desk(tmp_path, clock, held_seconds=1) as it:
        await started(it, 1)
        clock.forward(0.9)
        await asyncio.sleep(0)
        assert it.sent == [("0", "started")]
        clock.forward(0.2)
        await until(lambda: len(it.sent) == 3)
        assert it.sent == [("0", "started"), ("0", "finished"), ("0", "log.error")]


async def test_what_is_held_is_left_to_the_replica_that_has_it_now(tmp_path: Path) -> None:
    clock = StandingClock()
    async with desk(tmp_path, clock, held_seconds=1) as it:
        await started(it, 1)
        await until(lambda: it.outbox._workers.is_done)
        await it.journal._write(("DELETE FROM reports", ()))  # the other one has sent them
        it.outbox.lose()
        clock.forward(1.1)
        await until(lambda: not it.outbox._chains)
        assert it.sent == [("0", "started")]


async def test_a_finished_that_comes_later_waits_for_the_rest_of_the_time(tmp_path: Path) -> None:
    clock = StandingClock()
    async with desk(tmp_path, clock, held_seconds=1) as it:
        await started(it, 1)
        await until(lambda: it.outbox._workers.is_done)  # nothing is under way
        assert it.outbox._chains
        clock.forward(1.1)
        await until(lambda: len(it.sent) == 3)


async def test_many_are_held_without_a_task_each_and_nothing_goes_the_slower_way(
    tmp_path: Path,
) -> None:
    clock, rounds, at_once = StandingClock(), 4, IN_FLIGHT // 2
    async with desk(tmp_path, clock, held_seconds=1) as it:
        await until(lambda: not it.outbox._feed.is_left)
        before = len(asyncio.all_tasks())
        for number in range(rounds):
            names = [f"{number} {n}" for n in range(at_once)]
            await asyncio.gather(*map(it.finish, names))
            await until(lambda: it.outbox._workers.is_done)
        assert len(it.outbox._chains) == rounds * at_once > IN_FLIGHT
        assert not it.outbox._feed.is_left
        # Timers, the one that will forget, and those that wait for what comes next.
        assert len(asyncio.all_tasks()) < before + 9 + SPARE
        clock.forward(2)
        await until(lambda: len(it.sent) == 2 * rounds * at_once)


async def test_flushing_waits_for_what_is_held_back(tmp_path: Path) -> None:
    async with desk(tmp_path, held_seconds=0.05) as it:
        await it.finish("1")
        await it.outbox.flush()
        assert it.sent == [("1", "started"), ("1", "finished")]


async def test_what_keptn_was_asked_about_is_not_held_back(tmp_path: Path) -> None:
    async with desk(tmp_path, held_seconds=60) as it:
        it.script.append(CUT)
        it.has_counted = True
        await it.finish("1")
        await until(lambda: it.sent == [("1", "finished")])


async def test_keptn_keeps_the_message_of_an_action_that_takes_no_time(tmp_path: Path) -> None:
    seconds = 0.05
    async with FakeKeptn() as keptn:
        keptn.let_finished_overtake(within_seconds=seconds)
        journal = tmp_path / "journal.db"
        async with provider(journal, keptn, Greet, finished_after_seconds=seconds) as service:
            event = triggered("greet")
            await keptn.deliver(event, to=event_url(service))
            await keptn.task_finished(event["id"])
        assert keptn.sequence_message(event["id"]) == "hello world"
