"""Workers: in order, no more than so many at once, and no task for each thing."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from structlog.testing import capture_logs

from keptn_remedy.support.workers import SPARE, Workers
from tests.waiting import until

SAID: ContextVar[str] = ContextVar("said", default="nothing")


async def test_things_are_worked_on_in_order_by_few_tasks() -> None:
    done: list[int] = []
    tasks: set[asyncio.Task[object] | None] = set()

    async def work(number: int) -> None:
        await asyncio.sleep(0)
        done.append(number)
        tasks.add(asyncio.current_task())

    workers = Workers("a thing", work, 2)
    for number in range(10):
        workers.put(number)
    await workers.until_done()
    workers.put(10)  # by one that was idle
    await workers.until_done()
    await workers.cancel()
    assert done == list(range(11))
    assert len(tasks) == 2


async def test_no_more_than_so_many_are_worked_on_at_once() -> None:
    under_way: list[int] = []
    gate = asyncio.Event()

    async def work(number: int) -> None:
        under_way.append(number)
        await gate.wait()

    workers = Workers("a thing", work, 3)
    for number in range(5):
        workers.put(number)
    await until(lambda: len(under_way) == 3)
    gate.set()
    await workers.until_done()
    assert under_way == [0, 1, 2, 3, 4]
    await workers.cancel()


async def test_few_of_many_stay_for_what_comes_next() -> None:
    gate = asyncio.Event()

    async def work(_: int) -> None:
        await gate.wait()

    before = len(asyncio.all_tasks())
    workers = Workers("a thing", work, 3 * SPARE)
    for number in range(3 * SPARE):
        workers.put(number)
    assert len(asyncio.all_tasks()) == before + 3 * SPARE
    gate.set()
    await until(lambda: len(asyncio.all_tasks()) == before + SPARE)
    workers.put(0)
    await workers.until_done()
    await workers.cancel()
    assert len(asyncio.all_tasks()) == before


async def test_one_that_fails_is_told_and_stops_none_of_the_others() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        done.append(number)
        if number == 1:
            raise ValueError("by mistake")

    workers = Workers("a thing", work, 1)
    with capture_logs() as lines:
        for number in range(3):
            workers.put(number)
        await workers.until_done()
    await workers.cancel()
    assert done == [0, 1, 2]
    assert [line["event"] for line in lines] == ["a thing failed unexpectedly"]


async def test_what_is_put_after_a_cancellation_is_worked_on_all_the_same() -> None:
    done: list[int] = []

    async def work(number: int) -> None:
        if number == 0:
            await asyncio.Event().wait()
        done.append(number)

    workers = Workers("a thing", work, 1)
    workers.put(0)
    await asyncio.sleep(0)
    await workers.cancel()
    workers.put(1)
    await workers.until_done()
    await workers.cancel()
    assert done == [1]


async def test_a_worker_lives_in_no_context_of_whoever_came_first() -> None:
    heard: list[str] = []

    async def work(_: int) -> None:
        heard.append(SAID.get())

    workers = Workers("a thing", work, 1)
    SAID.set("a secret of the first")
    workers.put(1)
    await workers.until_done()
    await workers.cancel()
    assert heard == ["nothing"]
