"""A rolling update: an older replica goes on beside the one that has changed the tables."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from keptn_remedy.journal import Address, Ending, JournalError
from keptn_remedy.journal import postgres_schema as schema
from keptn_remedy.journal.postgres import PostgresJournal
from tests.core.journals import DONE, SetClock, accepted, allow, effect, reports_of
from tests.postgres_server import PostgresServer
from tests.waiting import until

CUT = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()"""
ALONE = """
ALTER TABLE journal_version ADD COLUMN beside BIGINT;
UPDATE journal_version SET beside = 8;"""


@pytest_asyncio.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[str]:
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


async def carry_out(journal: PostgresJournal, id_: str, clock: SetClock) -> None:
    """What happens to one execution, and how a service looks at it."""
    execution = await accepted(journal, id_, id_)
    started, finished = reports_of(execution, clock)
    sent = await journal.begin(execution, started)
    assert sent
    assert await journal.admit(execution, None, [effect(execution, id_)], allow) is None
    await journal.forget([sent])
    [last] = await journal.finish(execution, Ending(DONE), attempts=1, reports=[finished])
    await journal.postpone(last, clock.time, "Keptn is away")
    journal.release_report(last)
    await journal.claim(9)
    [last] = (await journal.claim_reports(9)).items
    assert [report.execution for report in await journal.owed_reports(9)] == [id_]
    await journal.forget([last])
    await journal.rehearse()
    await journal.prune(0, 9)
    record = await journal.record(id_)
    assert record
    assert record.state == "finished"


async def test_an_older_replica_goes_on_beside_one_that_has_changed_the_tables(
    database: str, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = Address(database)
    with monkeypatch.context() as before:
        before.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:-1])
        older = PostgresJournal.open(address, now=clock.now)
    await carry_out(older, "1", clock)
    newer = PostgresJournal.open(address, now=clock.now)
    await carry_out(older, "2", clock)
    await carry_out(newer, "3", clock)
    assert older.take_failure() is None
    await older.close()
    await newer.close()


async def failure_after_a_cut(
    journal: PostgresJournal, postgres: PostgresServer, database: str
) -> str:
    """Why it can't be used once its connections were lost; it acts on nothing by then."""
    postgres.execute(CUT, database)
    await until(lambda: not journal.ownership.may_act())
    with pytest.raises(JournalError) as failed:
        await journal.rehearse()
    with pytest.raises(JournalError, match="version"):
        await journal.records()
    assert "\n" not in str(failed.value)
    return str(failed.value)


async def test_a_replica_that_cannot_go_on_beside_a_newer_one_says_so_when_it_reconnects(
    database: str, postgres: PostgresServer, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = Address(database)
    older = PostgresJournal.open(address, now=clock.now, lease_seconds=1.0)
    await older.rehearse()
    with monkeypatch.context() as after:
        after.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ALONE))
        newer = PostgresJournal.open(address, now=clock.now)
    said = await failure_after_a_cut(older, postgres, database)
    assert said == (
        "a newer keptn-remedy has brought the journal to version 8, beside which this one, of "
        "version 7, can't go on: run the newer release"
    )
    await carry_out(newer, "2", clock)
    await older.close()
    await newer.close()


async def test_a_replica_that_finds_older_tables_says_so_when_it_reconnects(
    database: str, postgres: PostgresServer, clock: SetClock
) -> None:
    journal = PostgresJournal.open(Address(database), now=clock.now, lease_seconds=1.0)
    await journal.rehearse()
    postgres.execute("UPDATE journal_version SET version = 6", database)
    said = await failure_after_a_cut(journal, postgres, database)
    assert said.startswith("the journal has version 6 by now, and had version 7: restart this")
    postgres.execute("UPDATE journal_version SET version = 7", database)
    await until(journal.ownership.may_act)
    await journal.rehearse()
    await journal.close()
