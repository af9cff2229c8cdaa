"""What a journal on PostgreSQL demands of its server, and how it takes the server's faults."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio

from keptn_remedy import Outcome
from keptn_remedy.journal import Address, Ending, JournalError, JournalUnusable
from keptn_remedy.journal import postgres_connection as connections
from keptn_remedy.journal.postgres import PostgresJournal
from keptn_remedy.journal.postgres_address import hosts
from keptn_remedy.journal.postgres_schema import MIGRATIONS
from keptn_remedy.journal.postgres_waking import listen
from keptn_remedy.support.clock import Gap
from tests.core.journals import DONE, PLAN, SetClock, accepted, allow, effect, trigger
from tests.postgres_server import PostgresServer
from tests.waiting import until


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest_asyncio.fixture
async def journal(database: str, clock: SetClock) -> AsyncIterator[PostgresJournal]:
    opened = PostgresJournal.open(Address(database), now=clock.now)
    yield opened
    await opened.close()


def throw_out_all(server: PostgresServer, url: str) -> None:
    name = url.rpartition("/")[2]
    server.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"  # noqa: S608
        f" WHERE pid <> pg_backend_pid() AND datname = '{name}'"
    )


def refused(url: str) -> str:
    with pytest.raises(JournalUnusable) as raised:
        PostgresJournal.open(Address(url))
    assert "\n" not in str(raised.value)
    return str(raised.value)


@contextmanager
def altered(server: PostgresServer, url: str, setting: str) -> Iterator[None]:
    name = url.rpartition("/")[2]
    server.execute(f"ALTER DATABASE {name} SET {setting}")
    try:
        yield
    finally:
        server.execute(f"ALTER DATABASE {name} RESET {setting.split('=', maxsplit=1)[0]}")


FULL_DISK = (
    """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END
$$""",
    "CREATE TRIGGER full_disk BEFORE INSERT ON executions FOR EACH ROW EXECUTE FUNCTION fail()",
)


# What is demanded


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("synchronous_commit=off", "has synchronous_commit=off, and may lose"),
        ("default_transaction_read_only=on", "is read-only"),
    ],
)
def test_a_server_that_promises_too_little_is_refused(
    postgres: PostgresServer, database: str, setting: str, why: str
) -> None:
    with altered(postgres, database, setting):
        assert why in refused(database)


async def test_a_server_that_promises_too_little_by_now_is_refused_at_the_next_connection(
    postgres: PostgresServer, database: str, journal: PostgresJournal
) -> None:
    await accepted(journal)
    with altered(postgres, database, "synchronous_commit=off"):
        throw_out_all(postgres, database)
        with pytest.raises(JournalError, match="synchronous_commit=off"):
            await accepted(journal, "2")
    await journal.rehearse()
    await accepted(journal, "3")
    assert {record.id for record in await journal.records()} == {"1", "3"}


async def test_an_older_timeline_is_refused(journal: PostgresJournal) -> None:
    journal._server._timeline = 7  # a failover was seen
    with pytest.raises(JournalError, match="timeline 1, and 7 was seen: it was left behind"):
        await journal.records()


def test_an_older_server_is_refused(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "OLDEST_VERSION", 99)
    assert "99 or newer is needed" in refused(database)


def test_missing_rights_are_named(postgres: PostgresServer, database: str) -> None:
    postgres.execute("CREATE ROLE guest LOGIN")
    try:
        guest = database.replace("postgres@", "guest@")
        assert "permission denied for schema public (42501)" in refused(guest)
        asyncio.run(opened_once(database))
        postgres.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest", database)
        assert "no right to effects: INSERT, UPDATE, DELETE; episode_members:" in refused(guest)
    finally:
        postgres.execute("DROP OWNED BY guest", database)
        postgres.execute("DROP ROLE guest")


async def opened_once(url: str) -> None:
    await PostgresJournal.open(Address(url)).close()


async def test_several_may_start_at_once(database: str) -> None:
    def start() -> None:
        asyncio.run(opened_once(database))

    await asyncio.gather(*(asyncio.to_thread(start) for _ in range(4)))


async def test_tables_of_a_newer_release_are_left_alone(
    postgres: PostgresServer, database: str
) -> None:
    await opened_once(database)
    postgres.execute("UPDATE journal_version SET version = 99", database)
    assert f"has version 99, this keptn-remedy knows up to {len(MIGRATIONS)}" in refused(database)


def test_a_command_makes_no_tables(database: str) -> None:
    with pytest.raises(JournalUnusable, match="the database holds no journal"):
        PostgresJournal.read_only(Address(database))


# The address


def test_no_text_holds_the_password(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("hunter2\n")
    address = Address("postgresql://ada:hunter3@db,other:6432/remedy?password=hunter4", file)
    assert str(address) == "postgresql://db,other:6432/remedy"
    assert "hunter" not in repr(address)
    assert [each["password"] for each in hosts(address)] == ["hunter2"] * 2
    assert [each["host"] for each in hosts(address)] == ["db", "other"]
    with pytest.raises(JournalUnusable) as raised:
        hosts(Address("postgresql://ada:hunter2@db:port:x/?no"))
    assert "hunter2" not in str(raised.value)
    file.unlink()
    with pytest.raises(JournalUnusable, match="can't read REMEDY_JOURNAL_PASSWORD_FILE"):
        hosts(address)


def test_a_password_that_is_no_text_is_told(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_bytes(b"\xff")
    with pytest.raises(JournalUnusable, match="is no text"):
        hosts(Address("postgresql://host/database", file))


@pytest.mark.parametrize(
    ("url", "sslmode"),
    [
        ("postgresql://db/remedy", "verify-full"),
        ("postgresql://db/remedy?sslmode=require", "require"),
        ("postgresql://localhost,db/remedy", "verify-full"),
        ("postgresql://localhost/remedy", None),
        ("postgresql:///remedy?host=/run/postgresql", None),
    ],
)
def test_a_server_elsewhere_must_prove_who_it_is(url: str, sslmode: str | None) -> None:
    assert {each.get("sslmode") for each in hosts(Address(url))} == {sslmode}


# Its faults


async def test_a_call_to_a_frozen_server_is_ended(
    postgres: PostgresServer, journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await accepted(journal)
    await journal.records()
    monkeypatch.setattr(connections, "FROZEN_SECONDS", 0.1)
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.05)
    postgres.freeze()
    try:
        with pytest.raises(JournalError, match="127"):
            await accepted(journal, "2")
        with pytest.raises(JournalError):
            await journal.records()
    finally:
        postgres.thaw()
    monkeypatch.undo()
    await accepted(journal, "3")
    assert "1" in {record.id for record in await journal.records()}


async def test_a_server_that_freezes_as_a_connection_is_to_hear_others_is_given_up(
    postgres: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "FROZEN_SECONDS", 0.1)
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.05)
    server = connections.Server(Address(database))
    connection = server.connect()
    postgres.freeze()
    try:
        with pytest.raises(psycopg.OperationalError):
            await asyncio.to_thread(listen, connection)
    finally:
        postgres.thaw()
        server.close(connection)
        server.end()


async def test_a_connection_that_was_lost_at_rest_is_replaced_without_a_word(
    postgres: PostgresServer, database: str, journal: PostgresJournal
) -> None:
    await accepted(journal)
    await journal.records()
    throw_out_all(postgres, database)
    await accepted(journal, "2")
    assert len(await journal.records()) == 2
    assert journal.take_failure() is None


async def test_connections_that_were_lost_are_not_kept(
    postgres: PostgresServer, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "LOOK_SECONDS", 0.05)
    journal = PostgresJournal.open(Address(database))
    try:
        for number in range(4):
            await accepted(journal, str(number))
            throw_out_all(postgres, database)
        await accepted(journal, "last")
        # At most one for each: the writer, the reader, the keeper of the lease.
        await until(lambda: len(journal._server._connections) <= 3)
    finally:
        await journal.close()


async def test_a_lock_of_somebody_else_is_told(
    database: str, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_SETTINGS", "SET lock_timeout = '50ms'")
    journal = PostgresJournal.open(Address(database), now=clock.now)
    with psycopg.connect(database) as other:
        other.execute("ALTER TABLE reports ADD COLUMN other INT")
        with pytest.raises(JournalError, match="somebody holds a lock on a table"):
            await journal.rehearse()
        other.rollback()
    await journal.rehearse()
    await journal.close()


async def test_a_full_disk_of_the_server_is_told_and_heals(
    postgres: PostgresServer, database: str, journal: PostgresJournal
) -> None:
    """Filling a disk needs rights: the server is made to say what it says then."""
    await accepted(journal)
    for statement in FULL_DISK:
        postgres.execute(statement, database)
    with pytest.raises(JournalError, match="the server's disk is full") as raised:
        await accepted(journal, "2")
    assert "\n" not in str(raised.value)
    with pytest.raises(JournalError):
        await journal.rehearse()
    postgres.execute("DROP TRIGGER full_disk ON executions", database)
    await journal.rehearse()
    await accepted(journal, "2")
    assert {record.id for record in await journal.records()} == {"1", "2"}


async def test_connections_that_are_used_up_are_told(
    postgres: PostgresServer, database: str, journal: PostgresJournal
) -> None:
    await accepted(journal)
    name = database.rpartition("/")[2]
    postgres.execute("CREATE ROLE few LOGIN CONNECTION LIMIT 0")
    postgres.execute(f"GRANT ALL ON DATABASE {name} TO few")
    try:
        said = refused(database.replace("postgres@", "few@"))
    finally:
        postgres.execute(f"REVOKE ALL ON DATABASE {name} FROM few")
        postgres.execute("DROP ROLE few")
    assert "too many connections" in said


async def test_changes_that_clash_are_carried_out_again(
    journal: PostgresJournal, postgres: PostgresServer, database: str
) -> None:
    postgres.execute(CLASH_TWICE, database)
    await accepted(journal)
    await accepted(journal, "2")
    assert {record.id for record in await journal.records()} == {"1", "2"}


CLASH_TWICE = """
CREATE SEQUENCE clashes;
CREATE FUNCTION clash() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF nextval('clashes') <= 2 THEN RAISE EXCEPTION 'clash' USING ERRCODE = '40P01'; END IF;
    RETURN NEW; END $$;
CREATE TRIGGER clash BEFORE INSERT ON executions FOR EACH ROW EXECUTE FUNCTION clash()"""


async def test_what_was_answered_as_committed_is_stored_though_the_connection_is_lost_then(
    journal: PostgresJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where a server that is stopped ends the connections that are just committing."""
    execution = await accepted(journal)
    pipeline, lost = psycopg.Connection.pipeline, []

    @contextmanager
    def is_lost(raw: psycopg.Connection[Any]) -> Iterator[psycopg.Pipeline]:
        with pipeline(raw) as opened:
            yield opened
        if raw.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            lost.append(raw)
            raw.close()
            raise psycopg.OperationalError("the connection is lost")

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.Connection, "pipeline", is_lost)
        assert await journal.admit(execution, PLAN, [effect(execution)], allow) is None
    assert lost
    assert [each.id for each in await journal.planned()] == ["1"]
    await journal.finish(execution, Ending(DONE), attempts=1)


async def test_text_with_a_nul_is_stored_with_another_mark(journal: PostgresJournal) -> None:
    execution = await accepted(journal)
    await journal.finish(execution, Ending(Outcome.failed("no\0good")), attempts=1)
    (record,) = await journal.records()
    assert record.message == "no\N{REPLACEMENT CHARACTER}good"


async def test_one_that_cannot_be_stored_takes_no_other_along(journal: PostgresJournal) -> None:
    accepting = [
        journal.accept(trigger("1", "1"), "wait"),
        journal.accept(trigger("2", "2"), None),  # type: ignore[arg-type]  # can't be stored
        journal.accept(trigger("3", "3"), "wait"),
    ]
    found = await asyncio.gather(*accepting, return_exceptions=True)
    assert isinstance(found[1], JournalError)
    assert {record.id for record in await journal.records()} == {"1", "3"}


async def test_the_clock_is_the_servers(journal: PostgresJournal, clock: SetClock) -> None:
    assert abs(journal.clock_ahead) < 5
    beside = PostgresJournal.beside(journal._server.address)
    beside._server.clock_ahead = 0.0
    pause = await beside.pause("ada", "why")
    await beside.close()
    assert abs(pause.since.timestamp() - time.time()) < 5


async def test_a_servers_clock_that_goes_back_leaves_ages_as_they_are(
    journal: PostgresJournal, clock: SetClock
) -> None:
    await journal.note_reading(clock.reading())
    await accepted(journal)
    clock.time -= 3600
    gap = await journal.take_over(clock.reading())
    assert gap.step == gap.ahead == -3600
    (record,) = await journal.records()
    assert record.accepted_at.timestamp() == clock.time


async def test_time_without_a_service_is_time_that_passes(
    journal: PostgresJournal, clock: SetClock
) -> None:
    await journal.note_reading(clock.reading())
    clock.time += 3600
    assert await journal.take_over(clock.reading()) == Gap()
