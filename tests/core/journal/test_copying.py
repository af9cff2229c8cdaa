"""A journal moved from a file to a database and back holds what it held."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from keptn_remedy.journal import (
    Address,
    Arm,
    Ending,
    Ignored,
    JournalUnusable,
    Move,
    Rung,
    Taken,
    copy,
)
from keptn_remedy.journal.postgres import PostgresJournal
from keptn_remedy.journal.postgres_copy import database_end
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.journal.test_episodes import alert
from tests.core.journal.test_questions import QUESTION
from tests.core.journals import (
    DONE,
    REPLIES,
    SetClock,
    accepted,
    admitted,
    asked,
    reports_of,
    trigger,
)
from tests.core.places import AnyJournal
from tests.postgres_server import PostgresServer


@pytest.fixture
def address(postgres: PostgresServer) -> Iterator[Address]:
    url = postgres.create_database()
    yield Address(url)
    postgres.drop_database(url)


async def filled(path: Path, clock: SetClock) -> None:
    journal = SqliteJournal.open(path, now=clock.now)
    applied = await admitted(journal, "applied", "flag")
    ending = Ending(DONE, arm=Arm(on_closed=True))
    await journal.finish(applied, ending, attempts=1, reports=reports_of(applied, clock))
    asking = await accepted(journal, "asking", "orders")
    await journal.ask(asking, QUESTION)
    await journal.answer("asking", "approved", "ada", None)
    open_one = await accepted(journal, "open", "users")
    await journal.begin(open_one, REPLIES.started(open_one.trigger, clock.utc()))
    await journal.note_listed(["open"])
    await journal.pause("ada", "why")
    await journal.remember("wait", "key", {"a": [1, None]})
    await journal.close()


async def content(journal: AnyJournal) -> list[object]:
    found = [
        await journal.records(),
        [await journal.record(name) for name in ("applied", "asking", "open")],
        await journal.owed_reports(9),
        await journal.answered(),
        await journal.paused(),
        await journal.recall("wait", "key"),
        await journal.undo_of("applied"),
        await journal.open_tasks(2.0**40),
        await asked(journal, lambda history: history.last("flag")),
    ]
    await journal.close()
    return found


async def test_a_journal_is_the_same_after_a_move_and_back(
    path: Path, tmp_path: Path, clock: SetClock, address: Address
) -> None:
    await filled(path, clock)
    back = tmp_path / "back.db"
    assert copy(path, address) == (3, 2)
    assert copy(address, back) == (3, 2)
    before = await content(SqliteJournal.open(path, now=clock.now))
    assert await content(SqliteJournal.open(back, now=clock.now)) == before
    journal = PostgresJournal.open(address, now=clock.now)
    assert (await journal.accept(trigger("new", "new"), "wait")) is not None
    assert (await journal.owe(REPLIES.error_log(None, clock.utc(), "x"))).handle > 3
    await journal.finish(await accepted(journal, "newer", "newer"), Ending(DONE), attempts=1)
    await journal.close()


async def test_nothing_is_copied_onto_a_journal(
    path: Path, clock: SetClock, address: Address
) -> None:
    await filled(path, clock)
    copy(path, address)
    with pytest.raises(JournalUnusable, match="there is a journal in postgresql://"):
        copy(path, address)
    with pytest.raises(JournalUnusable, match="both the source and the target"):
        copy(address, address)


@pytest.mark.parametrize("held", ["episodes", "memory", "pause"])
async def test_nothing_is_copied_onto_what_holds_no_execution_but_something_else(
    held: str, path: Path, tmp_path: Path, clock: SetClock, address: Address
) -> None:
    async def hold(journal: AnyJournal) -> None:
        if held == "episodes":
            await journal.take_alerts([alert("a")], first_look_seconds=1, relapse_seconds=9)
        elif held == "memory":
            await journal.remember("", "page", "a key")
        else:
            await journal.pause("ada", "why")
        await journal.close()

    await filled(path, clock)
    file = tmp_path / "target.db"
    await hold(SqliteJournal.open(file, now=clock.now))
    await hold(PostgresJournal.open(address, now=clock.now))
    for target in (file, address):
        with pytest.raises(JournalUnusable, match=r"there is a journal in .*, with rows in "):
            copy(path, target)
    journal = PostgresJournal.open(address, now=clock.now)
    assert len(await journal.episodes()) == (held == "episodes")
    assert await journal.recall("", "page") == ("a key" if held == "memory" else None)
    assert (await journal.paused() is not None) == (held == "pause")
    await journal.close()


async def test_nothing_is_copied_while_a_service_runs(
    path: Path, tmp_path: Path, clock: SetClock, address: Address, postgres: PostgresServer
) -> None:
    await filled(path, clock)
    serving = SqliteJournal.open(path, now=clock.now)
    with pytest.raises(JournalUnusable, match="another process serves"):
        copy(path, address)
    await serving.close()
    copy(path, address)
    postgres.execute("INSERT INTO replicas (until) VALUES ('infinity')", address.url)
    with pytest.raises(JournalUnusable, match="a service runs from the journal postgresql://"):
        copy(address, tmp_path / "back.db")
    with pytest.raises(JournalUnusable, match="there is no journal at"):
        copy(tmp_path / "none.db", address)


async def test_no_service_starts_while_a_journal_is_copied(
    address: Address, postgres: PostgresServer
) -> None:
    with (
        database_end(address, is_target=True),
        pytest.raises(psycopg.errors.LockNotAvailable),
    ):
        postgres.execute(
            "SET lock_timeout = '50ms'; INSERT INTO replicas (until) VALUES (0)", address.url
        )


async def test_episodes_are_copied_whole(
    path: Path, tmp_path: Path, clock: SetClock, address: Address
) -> None:
    journal = SqliteJournal.open(path, now=clock.now)
    alerts = [alert("a"), alert("b"), alert("b", fires=False, key="closed")]
    await journal.take_alerts(
        alerts, [Ignored("shop", "Slow", "no stage")], first_look_seconds=1, relapse_seconds=9
    )
    [opened] = await journal.episodes()
    rung = Rung(number=0, index=0, execution="e", action="scale", began_at=clock.time, acted=False)
    await journal.move(opened, Move({"state": "acting"}, rung, "first"))
    before = await journal.whole_episode(opened.id)
    await journal.close()
    copy(path, address)
    copy(address, tmp_path / "back.db")
    moved = PostgresJournal.open(address, now=clock.now)
    back = SqliteJournal.open(tmp_path / "back.db", now=clock.now)
    for journal_there in (moved, back):
        assert await journal_there.whole_episode(opened.id) == before
        assert len(await journal_there.ignored(9)) == 1
        assert await journal_there.take_alerts(
            [alert("c", key="new")], first_look_seconds=1, relapse_seconds=9
        ) == Taken(opened=1)
        await journal_there.close()
