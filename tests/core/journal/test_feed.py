"""The feed: nothing stored is forgotten, started twice or overtaken, and memory is bounded."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from keptn_remedy.journal import Claimed, Ending, Execution, JournalError
from keptn_remedy.journal.feed import Feed
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.clocks import StandingClock
from tests.core.journals import DONE, accepted
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

    def __init__(self, journal: SqliteJournal) -> None:
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

    journal: SqliteJournal
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
@settings(max_examples=40, deadline=None)
def test_whatever_happens_everything_is_started_once_and_in_order(
    steps: list[tuple[str, int]],
) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(_lived_through(Path(folder), steps))
