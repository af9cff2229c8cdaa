"""The journal by way of a real PgBouncer, and what `remedy doctor` says of that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from keptn_remedy.journal import Address, Ending, JournalUnusable
from keptn_remedy.journal.postgres import PostgresJournal
from keptn_remedy.journal.postgres_pooler import what_a_pooler_loses
from tests.core.cli.doctor.test_doctor import lines
from tests.core.journals import DONE, SetClock, accepted, allow, effect, reports_of, trigger
from tests.ordering import say
from tests.pooler import Pooler, pooler_missing
from tests.postgres_server import PostgresServer


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    if reason := pooler_missing():
        pytest.skip(reason)
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


async def test_a_direct_connection_loses_nothing(database: str, tmp_path: Path) -> None:
    await PostgresJournal.open(Address(database)).close()
    said = await say(tmp_path, "doctor", REMEDY_JOURNAL=database)
    assert lines(said)["pooler"] == ("ok", "none that loses anything: replicas wake one another")


def test_a_server_that_is_away_is_told_in_one_line() -> None:
    with pytest.raises(JournalUnusable) as raised:
        what_a_pooler_loses(Address("postgresql://ada:hunter2@127.0.0.1:1/remedy"))
    assert "\n" not in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("mode", "lost"), [("session", []), ("transaction", ["session settings", "NOTIFY"])]
)
async def test_what_a_pooler_loses_is_found(
    postgres: PostgresServer,
    database: str,
    mode: Literal["session", "transaction"],
    lost: list[str],
) -> None:
    async with Pooler(postgres, mode) as pooler:
        assert what_a_pooler_loses(Address(pooler.url(database.rpartition("/")[2]))) == lost


async def test_two_replicas_serve_by_way_of_a_pooler_and_doctor_tells_what_it_costs(
    postgres: PostgresServer, database: str, tmp_path: Path, clock: SetClock
) -> None:
    async with Pooler(postgres, "transaction") as pooler:
        url = pooler.url(database.rpartition("/")[2])
        first, second = (PostgresJournal.open(Address(url)) for _ in range(2))
        execution = await accepted(first, "1")
        assert await second.accept(trigger("1"), "wait") is None
        started, finished = reports_of(execution, clock)
        await first.begin(execution, started)
        assert await first.admit(execution, None, [effect(execution)], allow) is None
        assert not (await second.claim(9)).items
        await first.finish(execution, Ending(DONE), attempts=1, reports=[finished])
        assert [record.state for record in await second.records()] == ["finished"]
        said = await say(tmp_path, "doctor", REMEDY_JOURNAL=url)
        await first.close()
        await second.close()
    mark, text = lines(said)["pooler"]
    assert mark == "WRONG"
    assert "loses session settings and NOTIFY: replicas look once a second" in text
    assert "connect directly" in text
