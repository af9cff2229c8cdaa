"""A crew: drained, cancelled, and asked about each thing exactly once."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from keptn_remedy.engine.crew import Crew
from tests.waiting import until


class Work:
    """A crew whose work ends when `gate` is set, and perhaps no sooner."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.ended: list[tuple[str, str]] = []
        self.crew = Crew[str]("jobs", self._note)

    def _note(self, thing: str, error: BaseException | None) -> None:
        self.ended.append((thing, repr(error)))

    async def wait(self) -> None:
        await self.gate.wait()

    async def hear_nothing(self) -> None:
        while not self.gate.is_set():
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                continue

    async def fail(self) -> None:
        raise ValueError("no")


async def test_the_end_of_each_is_noted_with_what_it_raised() -> None:
    work = Work()
    work.gate.set()
    work.crew.start("a", work.wait())
    work.crew.start("b", work.fail())
    await until(lambda: len(work.ended) == 2)
    assert work.ended == [("a", "None"), ("b", "ValueError('no')")]
    assert len(work.crew) == 0


async def test_all_its_tasks_share_one_name() -> None:
    work = Work()
    tasks = set[str]()

    async def note_name() -> None:
        task = asyncio.current_task()
        tasks.add(task.get_name() if task else "")

    work.crew.start("a", note_name())
    work.crew.start("b", note_name())
    await until(lambda: len(work.ended) == 2)
    assert tasks == {"jobs"}


async def test_a_drain_waits_and_then_cancels() -> None:
    work = Work()
    work.crew.start("a", work.wait())
    await work.crew.drain(0)
    await until(lambda: work.ended == [("a", "None")])


async def test_some_can_be_cancelled_alone() -> None:
    work = Work()
    work.crew.start("a", work.wait())
    work.crew.start("b", work.wait())
    work.crew.cancel(lambda thing: thing == "a")
    await until(lambda: work.ended == [("a", "None")])
    assert work.crew.things == ["b"]
    await work.crew.drain(0)


async def test_a_drain_does_not_wait_for_what_is_not_worth_it() -> None:
    work = Work()
    work.crew.start("deaf", work.hear_nothing())
    work.crew.start("a", work.wait())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await work.crew.drain(60, cancel_seconds=0, waits_for=lambda thing: False)
    await until(lambda: work.ended == [("a", "None")])
    work.gate.set()
    await until(lambda: len(work.ended) == 2)


async def test_what_ignores_its_cancellation_is_waited_for_once_and_its_end_is_noted() -> None:
    work = Work()
    work.crew.start("deaf", work.hear_nothing())
    await asyncio.sleep(0)
    with capture_logs() as logged:
        await work.crew.drain(0, cancel_seconds=0)
        async with asyncio.timeout(10):
            await work.crew.drain(60, cancel_seconds=60)  # has nothing to wait for
    assert [(line["event"], line["count"]) for line in logged] == [
        ("jobs ignore their cancellation", 1)
    ]
    work.gate.set()
    await until(lambda: work.ended == [("deaf", "None")])
