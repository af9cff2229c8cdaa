"""Journals of other versions: brought to this one, or refused and left alone."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from keptn_remedy.journal import Ending, JournalUnusable
from keptn_remedy.journal.schema import MIGRATIONS, VERSION_1
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.support.clock import Clock
from tests.core.journals import DONE, PLAN, REPLIES, SetClock, accepted, allow, due_reports, trigger


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


def test_a_journal_of_a_newer_version_is_refused_and_left_alone(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    connection.close()
    with pytest.raises(JournalUnusable, match="newer release"):
        SqliteJournal.open(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS) + 1,)
    assert not connection.execute("SELECT 1 FROM sqlite_master").fetchall()
    connection.close()


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    path.write_text("not a database, but long enough to look like a file of something else" * 9)
    with pytest.raises(JournalUnusable, match="not a database"):
        SqliteJournal.open(path)


async def test_a_file_of_version_1_keeps_everything_it_holds(path: Path, clock: SetClock) -> None:
    write_version_1(path)
    journal = SqliteJournal.open(path, now=clock.now)
    found = await journal.next_in_lanes()
    assert [execution.id for execution in found] == ["open"]
    assert (found[0].plan, found[0].runs, found[0].question) == (PLAN, 2, None)
    record = await journal.record("finished")
    assert record
    assert (record.message, record.details, record.undo) == ("done", {"flag": "off"}, None)
    assert [u.report.kind for u in await due_reports(journal)] == ["started"]
    assert await journal.recall("a", "key") == 1
    assert [(task.id, task.listed) for task in await journal.open_tasks(9)] == [("open", False)]
    assert await journal.admit(found[0], PLAN, [], allow) is None
    assert await journal.finish(found[0], Ending(DONE), attempts=1) == []
    await journal.close()


def write_version_1(path: Path) -> None:
    """What a process of version 1 left: an execution that is open, and one that finished."""
    connection = sqlite3.connect(path)
    connection.executescript(f"{VERSION_1} PRAGMA user_version = 1;")
    for event_id, state in (("finished", "finished"), ("open", "started")):
        event = trigger(event_id)
        is_open = state == "started"
        connection.execute(
            "INSERT INTO executions (id, state, lane, action, context, project, stage, service,"
            " accepted_at, started_at, finished_at, runs, plan, status, result, message, details,"
            " event) VALUES (?, ?, ?, 'wait', ?, 'sockshop', 'prod', 'carts', 1, 2, ?, 2, ?, ?, ?,"
            " ?, ?, ?)",
            (
                event_id,
                state,
                event_id,
                event.context,
                None if is_open else 3,
                PLAN.to_json(),
                *((None,) * 4 if is_open else ("succeeded", "pass", "done", b'{"flag":"off"}')),
                event.body,
            ),
        )
    started = REPLIES.started(trigger("open"), Clock().utc())
    connection.execute(
        "INSERT INTO reports (execution, kind, event, created_at, due_at) VALUES (?, ?, ?, 1, 1)",
        (started.execution, started.kind, started.body),
    )
    connection.execute("INSERT INTO memory VALUES ('a', 'key', '1')")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
async def test_a_file_of_every_earlier_version_serves(version: int, path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.executescript(f"{''.join(MIGRATIONS[:version])} PRAGMA user_version = {version};")
    connection.close()
    journal = SqliteJournal.open(path)
    await accepted(journal)
    await journal.pause("ann", "fire drill")
    backlog = await journal.backlog()
    assert (backlog.executions, backlog.blocked) == (1, 0)
    assert await journal.orders_given() == 1
    await journal.close()


async def test_an_older_version_is_migrated_step_by_step(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = SqliteJournal.open(path)
    await accepted(journal)
    await journal.close()
    step = "ALTER TABLE executions ADD COLUMN paused_by TEXT DEFAULT 'nobody';"
    monkeypatch.setattr("keptn_remedy.journal.schema.MIGRATIONS", (*MIGRATIONS, step))
    await SqliteJournal.open(path).close()
    row = sqlite3.connect(path).execute("SELECT id, paused_by FROM executions").fetchone()
    assert row == ("1", "nobody")


def test_a_failing_migration_leaves_the_file_as_it_was(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = "CREATE TABLE half (id INTEGER); CREATE TABLE executions (id INTEGER);"
    monkeypatch.setattr("keptn_remedy.journal.schema.MIGRATIONS", (*MIGRATIONS, broken))
    with pytest.raises(JournalUnusable, match="already exists"):
        SqliteJournal.open(path)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA user_version").fetchone() == (len(MIGRATIONS),)
    assert not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall()
    connection.close()
