"""A rolling update: an older replica goes on beside the one that has changed the tables."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from keptn_remedy.journal import Address, Ending
from keptn_remedy.journal import postgres_schema as schema
from keptn_remedy.journal.postgres import PostgresJournal
from tests.core.journals import DONE, SetClock, accepted, allow, effect, reports_of
from tests.postgres_server import PostgresServer


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
