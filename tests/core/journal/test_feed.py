"""The feed: nothing stored is forgotten, started twice or overtaken, and memory is bounded."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import pytest_asyncio
from hypothesis import given, settings
from hypothesis import strategies as st

from keptn_remedy.journal import Claimed, Ending, Execution, JournalError, feed
from keptn_remedy.journal.feed import Feed
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.clocks import StandingClock
from tests.core.journals import DONE, accepted
from tests.core.places import AnyJournal
from tests.waiting import until

ROOM = 3
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ("arrive", "arrive", "burst", "end", "end", "drop", "look", "answer", "fail", "lose")
        ),
        st.integers(0, 3),
    ),
    max_size=40,
)
_numbers = itertools.count()


class PatientClock(StandingClock):
    """Nothing is looked for only because time has passed; a pause after a failure ends at once."""

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)


class SlowJournal:
    """A real journal whose looks take until they are answered, or fail."""

    def __init__(self, journal: AnyJournal) -> None:
        self.journal = journal
        self.looks: list[asyncio.Future[bool]] = []
        self.is_slow = True

    async def claim(self, limit: int) -> Claimed[Execution]:
        if self.is_slow:
            before: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self.looks.append(before)
            if not await before:
                raise JournalError("it fails")
        return await self.journal.claim(limit)

    def answer(self, *, fails: bool = False) -> None:
        for look in self.looks:
            if not look.done():
                look.set_result(not fails)


@dataclass
class Yard:
    """A feed whose executions run until they are ended."""

    journal: AnyJournal
    slow: SlowJournal
    running: dict[str, Execution] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    stored: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    # What the feed does not know of until it looks.
    unknown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.feed = Feed(
            self.slow.claim,
            self._start,
            self.journal.release,
            room=lambda: ROOM - len(self.running),
            clock=PatientClock(),
        )

    def _start(self, execution: Execution) -> None:
        assert execution.is_claimed
        assert len(self.running) < ROOM
        assert execution.lane not in {other.lane for other in self.running.values()}
        self.running[execution.id] = execution
        self.started.append(execution.id)

    async def step(self, step: str, number: int) -> None:
        match step:
            case "arrive":
                await self._arrive(number, 1)
            case "burst":
                await self._arrive(number, 4)
            case "end" | "drop":
                await self._end(number, is_finished=step == "end")
            case "look":
                self.feed.look_again()
            case "answer" | "fail":
                self.slow.answer(fails=step == "fail")
            case _:  # stored, and nobody offers it
                execution = await self._accepted(number)
                self.unknown.add(execution.id)
                self.journal.release(execution)
        await asyncio.sleep(0)

    async def _arrive(self, number: int, count: int) -> None:
        lanes = ((number + more) % 4 for more in range(count))
        for execution in await asyncio.gather(*map(self._accepted, lanes)):
            self.feed.offer(execution)

    async def _accepted(self, lane: int) -> Execution:
        event_id = f"{next(_numbers):06}"
        self.stored[str(lane)].append(event_id)
        return await accepted(self.journal, event_id, str(lane))

    async def _end(self, number: int, *, is_finished: bool) -> None:
        if not self.running:
            return
        execution = sorted(self.running.values(), key=lambda e: e.id)[number % len(self.running)]
        if is_finished:
            await self.journal.finish(execution, Ending(DONE), attempts=1)
        else:  # as if its code had failed
            self.started.remove(execution.id)
            self.unknown.add(execution.id)
        self.journal.release(execution)
        del self.running[execution.id]
        self.feed.note_room()

    async def to_the_end(self) -> None:
        """End whatever runs, until nothing is left."""
        self.slow.is_slow = False
        self.slow.answer()
        self.feed.look_again()

        async def is_empty() -> bool:
            for number in range(len(self.running)):
                await self._end(number, is_finished=True)
            return not (self.running or (await self.journal.backlog()).executions)

        await until(is_empty)


async def _lived_through(folder: Path, steps: Sequence[tuple[str, int]]) -> None:
    journal = SqliteJournal.open(folder / "journal.db")
    yard = Yard(journal, SlowJournal(journal))
    loop = asyncio.create_task(yard.feed.run())
    try:
        for step, number in steps:
            await yard.step(step, number)
            assert len(yard.running) <= ROOM
        await yard.to_the_end()
    finally:
        loop.cancel()
        await asyncio.gather(loop, return_exceptions=True)
        await journal.close()
    # Nothing is forgotten and nothing is started twice ...
    assert sorted(yard.started) == sorted(itertools.chain(*yard.stored.values()))
    # ... and nothing is overtaken that was offered.
    for stored in yard.stored.values():
        known = [event_id for event_id in stored if event_id not in yard.unknown]
        assert [event_id for event_id in yard.started if event_id in known] == known


@given(STEPS)
@settings(max_examples=40)
def test_whatever_happens_everything_is_started_once_and_in_order(
    steps: list[tuple[str, int]],
) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(_lived_through(Path(folder), steps))


@dataclass(frozen=True)
class Item:
    """Something stored."""

    name: str
    is_claimed: bool = True


class WatchedClock(PatientClock):
    """Notes, whenever the feed waits, whether it knew of anything left."""

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[tuple[bool, float]] = []
        self.is_left: Callable[[], bool] = lambda: False

    async def wait(self, event: asyncio.Event, seconds: float) -> None:
        self.waited.append((self.is_left(), seconds))
        if seconds:
            await event.wait()


class Desk:
    """A feed on a journal that answers as it is told to."""

    def __init__(self, room: int = 9) -> None:
        self.room = room
        self.clock = WatchedClock()
        self.limits: list[int] = []
        self.answers: asyncio.Queue[Claimed[Item] | JournalError] = asyncio.Queue()
        self.started: list[str] = []
        self.put_back: list[str] = []
        self.feed = Feed[Item](
            self._claim,
            self._start,
            lambda item: self.put_back.append(item.name),
            room=lambda: self.room,
            clock=self.clock,
        )
        self.clock.is_left = lambda: self.feed.is_left

    async def _claim(self, limit: int) -> Claimed[Item]:
        self.limits.append(limit)
        answer = await self.answers.get()
        if isinstance(answer, JournalError):
            raise answer
        return answer

    def _start(self, item: Item) -> None:
        self.room -= 1
        self.started.append(item.name)

    async def answer(self, *names: str, is_left: bool = False, due_at: float | None = None) -> None:
        """Answer the look under way, and let the feed take it in."""
        waits = len(self.clock.waited)
        await self.answers.put(Claimed([Item(name) for name in names], is_left, due_at))
        await until(lambda: len(self.clock.waited) > waits)

    async def looking(self, times: int) -> None:
        await until(lambda: len(self.limits) == times)


@pytest_asyncio.fixture
async def desk() -> AsyncIterator[Desk]:
    made = Desk()
    loop = asyncio.create_task(made.feed.run())
    await made.looking(1)
    yield made
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def test_what_is_offered_during_a_look_comes_behind_what_is_found(desk: Desk) -> None:
    desk.feed.offer(Item("offered"))
    await desk.answer("found")
    assert desk.started == ["found", "offered"]
    desk.feed.offer(Item("straight"))
    assert desk.started[2:] == ["straight"]


async def test_what_is_offered_goes_back_while_anything_is_left(desk: Desk) -> None:
    desk.feed.offer(Item("during"))
    await desk.answer("found", is_left=True)
    await desk.looking(2)
    await desk.answer(is_left=True)
    desk.feed.offer(Item("after"))
    assert (desk.started, desk.put_back) == (["found"], ["during", "after"])
    await desk.looking(3)


async def test_what_is_given_back_during_a_look_is_left_whatever_it_answers(desk: Desk) -> None:
    desk.feed.look_again()
    await desk.answer()
    assert desk.clock.waited[0][0]
    await desk.looking(2)


async def test_room_that_comes_during_a_look_leads_to_another(desk: Desk) -> None:
    desk.feed.note_room()
    await desk.answer(is_left=True)
    await desk.looking(2)


async def test_a_look_that_fails_leaves_what_was_offered_to_the_next(desk: Desk) -> None:
    desk.feed.offer(Item("offered"))
    await desk.answers.put(JournalError("it fails"))
    await desk.looking(2)
    assert (desk.started, desk.put_back) == ([], ["offered"])


async def test_what_is_found_goes_back_where_room_was_taken_meanwhile(desk: Desk) -> None:
    desk.room = 1
    await desk.answer("first", "second")
    assert (desk.started, desk.put_back) == (["first"], ["second"])
    assert desk.feed.is_left
    desk.room = 1
    desk.feed.note_room()
    await desk.looking(2)


async def test_where_there_was_only_room_for_some_the_next_look_follows_at_once(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "AT_ONCE", 2)
    await desk.answer(is_left=True)
    desk.feed.look_again()
    await desk.looking(2)
    assert desk.limits == [9, 2]
    await desk.answer("first", "second", is_left=True)
    assert desk.clock.waited[-1][1] == 0
    await desk.looking(3)


async def test_the_next_look_is_when_something_is_due(desk: Desk) -> None:
    now = desk.clock.now()
    for due_at, seconds in ((now + 60, 5.0), (now - 1, 0.01), (None, 5.0)):
        looks = len(desk.limits)
        await desk.answer(is_left=True, due_at=due_at)
        assert desk.clock.waited[-1][1] == seconds
        desk.feed.look_again()
        await desk.looking(looks + 1)


async def test_nothing_is_looked_for_while_there_is_no_room(desk: Desk) -> None:
    desk.room = 0
    await desk.answer(is_left=True)
    desk.feed.look_again()
    desk.feed.offer(Item("offered"))
    await asyncio.sleep(0.01)
    assert (desk.limits, desk.put_back) == ([9], ["offered"])
    desk.room = 3
    desk.feed.note_room()
    await desk.looking(2)
