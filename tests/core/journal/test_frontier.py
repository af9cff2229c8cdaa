"""A look for executions costs what was done since the last one, not what waits."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keptn_remedy.journal import Ending, Execution, JournalError, frontier
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.journal.test_scale import Steps, plan_of
from tests.core.journals import DONE, accepted, trigger
from tests.core.places import AnyJournal, Place

WAITING = 50_000


def fill(path: Path, lanes: int) -> None:
    """So many executions that wait, in lanes by turns."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(
            "INSERT INTO executions (id, lane, action, context, project, stage, service,"
            " accepted_at, event)"
            " WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < ?)"
            " SELECT 'id ' || n, 'lane ' || (n % ?), 'wait', '', '', '', '', 0, ? FROM n",
            (WAITING, lanes, trigger("1").body),
        )


@pytest.mark.parametrize("lanes", [1, 300, WAITING])
async def test_a_look_into_a_backlog_does_not_walk_through_it(path: Path, lanes: int) -> None:
    await SqliteJournal.open(path).close()
    fill(path, lanes)
    journal = SqliteJournal.open(path)
    await journal.paused()  # the reader is there
    assert journal._reader
    steps = Steps(journal._reader)
    taken: list[int] = []
    for _ in range(5):
        before = steps.taken
        found = await journal.claim(50)
        taken.append(steps.taken - before)
        assert found.is_left
        for execution in found.items:
            await journal.finish(execution, Ending(DONE), attempts=1)
    await journal.close()
    # A row that is only looked at costs about ten instructions of SQLite, and at most a thousand
    # are; one that is claimed costs a few dozen.
    assert max(taken) < 40_000, taken


async def test_each_look_goes_by_an_index_and_begins_where_the_last_one_ended(path: Path) -> None:
    await SqliteJournal.open(path).close()
    expected = {
        sql.OPEN_AFTER: "INDEX executions_open (seq>?)",
        sql.HEADS: "INDEX executions_lanes (lane=?)",
        sql.PLANNED_LANES: "INDEX executions_planned",
        sql.CLAIMABLE: "INTEGER PRIMARY KEY (rowid=?)",
        sql.UNANNOUNCED: "INDEX executions_accepted (accepted_at<?)",
        sql.OPEN_TASKS: "INDEX executions_open (seq>?)",
        sql.OPEN_TASKS_OF: "INDEX executions_lanes (lane=? AND seq>?)",
        sql.BEGUN: "INDEX executions_begun (started_at<?)",
    }
    with closing(sqlite3.connect(path)) as connection:
        for look, index in expected.items():
            steps = plan_of(connection, look)
            assert any(index in step for step in steps), (look, steps)
            assert not any("ORDER BY" in step for step in steps if look == sql.UNANNOUNCED)


async def test_commands_read_a_journal_that_has_no_such_index_yet(path: Path) -> None:
    journal = SqliteJournal.open(path)
    await accepted(journal, "1")
    await journal.close()
    with closing(sqlite3.connect(path)) as connection:
        for index in ("executions_lanes", "executions_planned", "executions_accepted"):
            connection.execute(f"DROP INDEX {index}")
    reader = SqliteJournal.read_only(path)
    assert [execution.id for execution in await reader.next_in_lanes()] == ["1"]
    assert (await reader.record("1")) is not None
    await reader.close()


async def test_an_execution_far_behind_a_busy_lane_is_found(
    journal: AnyJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frontier, "MOST_ROWS", 3)
    for number in range(10):
        await accepted(journal, str(number), "busy")
    last = await accepted(journal, "last", "rare")
    journal.release(last)
    found = await journal.claim(9)
    while not found.items:
        assert found.is_left
        assert found.due_at == 0.0  # look again soon
        found = await journal.claim(9)
    assert [execution.id for execution in found.items] == ["last"]


async def test_what_may_be_stored_though_it_was_refused_is_looked_for(
    journal: AnyJournal, place: Place
) -> None:
    for number in ("1", "2"):
        await journal.finish(await accepted(journal, number, number), Ending(DONE), attempts=1)
    await accepted(journal, "3")
    await journal.claim(9)
    place.change("UPDATE executions SET state = 'accepted' WHERE id = '1'")
    assert (await journal.claim(9)).items == []
    with pytest.raises(JournalError):
        await journal.accept(trigger("4"), None)  # type: ignore[arg-type]  # can't be stored
    assert [execution.id for execution in (await journal.claim(9)).items] == ["1"]


# What is done, and to which lane or execution.
STEP = st.tuples(
    st.sampled_from(["accept", "accept and release", "finish", "release", "look"]),
    st.integers(0, 3),
)


async def _played(folder: Path, steps: list[tuple[str, int]]) -> None:
    journal = SqliteJournal.open(folder / "journal.db")
    held: list[Execution] = []
    for count, (step, number) in enumerate(steps):
        if step.startswith("accept"):
            execution = await accepted(journal, str(count), f"lane {number}")
            if execution.is_claimed and step == "accept":
                held.append(execution)
            elif execution.is_claimed:
                journal.release(execution)
        elif step == "look":
            held += (await journal.claim(1 + number)).items
        elif held:
            execution = held.pop(number % len(held))
            if step == "finish":
                await journal.finish(execution, Ending(DONE), attempts=1)
            else:
                journal.release(execution)
        assert len({execution.lane for execution in held}) == len(held)
    await _to_the_end(journal, held)
    assert (await journal.backlog()).executions == 0
    await journal.close()


async def _to_the_end(journal: AnyJournal, held: list[Execution]) -> None:
    """Finish all that is held, and claim all that is left, until nothing is."""
    while True:
        for execution in held:
            await journal.finish(execution, Ending(DONE), attempts=1)
        found = await journal.claim(2)
        held = list(found.items)
        if not held and not found.is_left:
            return
        assert held or found.due_at == 0.0  # nobody waits for nothing


@given(st.lists(STEP, max_size=30))
@settings(max_examples=40)
def test_whatever_was_done_every_execution_comes(steps: list[tuple[str, int]]) -> None:
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(frontier, "MOST_ROWS", 2)
        patch.setattr(frontier, "MOST_LANES", 1)
        asyncio.run(_played(Path(folder), steps))
