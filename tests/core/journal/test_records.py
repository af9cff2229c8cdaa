"""Reading for people: pages, and the feed of changes."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given, settings
from hypothesis import strategies as st

from keptn_remedy.journal import Ending, Execution, Question, Record, Since
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.journals import DONE, PLAN, SetClock, accepted, nothing_for, reports_of
from tests.core.places import AnyJournal, Place, in_sqlite


def states(records: Sequence[Record]) -> list[tuple[str, str]]:
    return [(record.id, record.state) for record in records]


async def begin(journal: AnyJournal, execution: Execution, clock: SetClock) -> None:
    await journal.begin(execution, reports_of(execution, clock)[0])


async def test_pages_of_records_meet_without_gap_or_overlap(journal: AnyJournal) -> None:
    for number in range(5):
        await accepted(journal, str(number))
    first = await journal.records(limit=2)
    second = await journal.records(limit=9, before=first[-1].cursor)
    assert [r.id for r in first + second] == ["4", "3", "2", "1", "0"]
    oldest = await journal.records_after(None, 2)
    rest = await journal.records_after(oldest[-1].cursor, 9)
    assert [r.id for r in oldest + rest] == ["0", "1", "2", "3", "4"]


async def test_executions_that_ask_are_paged_too(journal: AnyJournal, clock: SetClock) -> None:
    asking = [await accepted(journal, str(number)) for number in range(4)]
    for execution in asking[1:]:
        await journal.ask(execution, Question(PLAN, "production", clock.now(), clock.now() + 9))
    await begin(journal, asking[2], clock)
    first = await journal.records(asking=True, limit=2)
    second = await journal.records(asking=True, limit=2, before=first[-1].cursor)
    assert [r.id for r in first + second] == ["3", "2", "1"]
    assert [r.id for r in await journal.records(asking=True, state="started")] == ["2"]
    await journal.answer("3", "denied", "ada", None)
    assert [r.id for r in await journal.records(asking=True)] == ["2", "1"]


async def test_changes_begin_now_or_at_the_oldest(journal: AnyJournal) -> None:
    await accepted(journal, "1")
    found, since = await journal.changes(None, 9)
    assert found == []
    assert states((await journal.changes(None, 9, from_start=True))[0]) == [("1", "accepted")]
    await accepted(journal, "2")
    found, since = await journal.changes(since, 9)
    assert states(found) == [("2", "accepted")]
    assert (await journal.changes(since, 9))[0] == []


async def test_each_change_is_reported_and_what_lies_between_two_looks_is_skipped(
    journal: AnyJournal, clock: SetClock
) -> None:
    first, second, third = [await accepted(journal, number) for number in "123"]
    _, since = await journal.changes(None, 9)
    await begin(journal, second, clock)
    found, since = await journal.changes(since, 9)
    assert states(found) == [("2", "started")]
    for execution in (third, second):
        await begin(journal, execution, clock)
        await journal.finish(execution, Ending(DONE), attempts=1)
    await accepted(journal, "4")
    await begin(journal, first, clock)
    found, since = await journal.changes(since, 9)
    changed = [("1", "started"), ("2", "finished"), ("3", "finished")]
    assert states(found) == [*changed, ("4", "accepted")]
    assert (await journal.changes(since, 9))[0] == []


async def test_what_does_not_fit_comes_with_the_next_look(
    journal: AnyJournal, clock: SetClock
) -> None:
    for number in "12":
        await accepted(journal, number)
    _, since = await journal.changes(None, 9)
    for execution in await journal.next_in_lanes():
        await begin(journal, execution, clock)
    await journal.finish((await journal.next_in_lanes())[0], Ending(DONE), attempts=1)
    for number in "34":
        await accepted(journal, number)
    found: list[tuple[str, str]] = []
    for _ in range(4):
        page, since = await journal.changes(since, 1)
        assert len(page) <= 1
        found += states(page)
    assert found == [("1", "finished"), ("3", "accepted"), ("4", "accepted")]


async def test_what_is_pruned_between_two_looks_is_not_reported(
    journal: AnyJournal, clock: SetClock
) -> None:
    execution = await accepted(journal, "1")
    await accepted(journal, "2")
    _, since = await journal.changes(None, 9)
    await journal.finish(execution, Ending(DONE), attempts=1)
    assert await journal.prune(clock.now() + 1, 9) == 1
    found, since = await journal.changes(since, 9)
    assert found == []


async def test_nothing_is_missed_when_the_last_one_seen_was_pruned(
    journal: AnyJournal, clock: SetClock
) -> None:
    execution = await accepted(journal, "1")
    _, since = await journal.changes(None, 9)
    await journal.finish(execution, Ending(DONE), attempts=1)
    await accepted(journal, "2")
    assert await journal.prune(clock.now() + 1, 9) == 1
    found, since = await journal.changes(since, 9)
    assert states(found) == [("2", "accepted")]


async def test_changes_are_seen_from_beside_the_service(journal: AnyJournal, place: Place) -> None:
    reader = place.read_only()
    _, since = await reader.changes(None, 9)
    await accepted(journal, "1")
    assert states((await reader.changes(since, 9))[0]) == [("1", "accepted")]
    await reader.close()


@in_sqlite
async def test_a_look_for_changes_walks_through_what_is_open_alone(
    journal: AnyJournal, path: Path
) -> None:
    with closing(sqlite3.connect(path)) as reader:
        for look in (sql.NEWEST, sql.STATES, sql.RECORDS_AFTER, sql.RECORDS_OF):
            rows = reader.execute(f"EXPLAIN QUERY PLAN {look}", nothing_for(look))
            plan = [row[3] for row in rows]
            walks = [step for step in plan if step == "SCAN executions"]
            assert not walks or "LIMIT 1" in look, (look, plan)


@given(
    st.lists(st.tuples(st.sampled_from(("accept", "begin", "finish", "look")), st.integers(0, 5)))
)
@settings(max_examples=25)
def test_whoever_follows_knows_the_state_of_each_at_every_look(
    steps: list[tuple[str, int]],
) -> None:
    with TemporaryDirectory() as folder:
        asyncio.run(_followed(Path(folder), steps))


async def _followed(folder: Path, steps: list[tuple[str, int]]) -> None:
    clock = SetClock()
    journal = SqliteJournal.open(folder / "journal.db", now=clock.now)
    known: dict[str, str] = {}
    since: Since | None = None
    made: list[Execution] = []
    try:
        for step, number in [*steps, ("look", 0)]:
            if step == "accept":
                made.append(await accepted(journal, str(len(made)), str(len(made))))
            elif step == "look":
                is_more = True
                while is_more:
                    page, since = await journal.changes(since, 1 + number, from_start=True)
                    known.update(states(page))
                    is_more = bool(page)
                assert known == dict(states(await journal.records()))
            elif made and step == "begin":
                await begin(journal, made[number % len(made)], clock)
            elif made:
                await journal.finish(made[number % len(made)], Ending(DONE), attempts=1)
    finally:
        await journal.close()
