"""Last night's backup of a journal on PostgreSQL: Keptn is asked before anything in it acts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from keptn_remedy import Change, Context, Plan
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from tests.end_to_end.test_take_over import aborted
from tests.postgres_server import PostgresServer
from tests.providing import Dial, event_url, provider
from tests.waiting import until

CAREFUL = "[{name: careful, match: {service: [orders, users, queue]}, mode: approve}]"


class Slow(Dial):
    """A dial for each service, set when it may be."""

    name = "slow"
    may_apply: ClassVar[asyncio.Event]

    async def plan(self, context: Context, value: int) -> Plan:
        return Plan((Change(context.trigger.service, "number", 0, value),))

    async def apply(self, context: Context, plan: Plan) -> None:
        self.log.append("begun")
        try:
            await self.may_apply.wait()
        except asyncio.CancelledError:
            self.log.append("cut off")
            raise
        await super().apply(context, plan)


@pytest_asyncio.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[str]:
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


class Dump:
    """One database, by `pg_dump` and `pg_restore`."""

    def __init__(self, server: PostgresServer, database: str) -> None:
        self.database = database
        self._server = server
        self._kept = b""

    async def make(self) -> None:
        self._kept = self._server.back_up(self.database)

    async def restore(self) -> None:
        self._server.restore(self.database, self._kept)


class Files:
    """A whole server, by `pg_basebackup` and a start with what that made."""

    def __init__(self, server: PostgresServer) -> None:
        self.database = server.create_database()
        self._server = server

    async def make(self) -> None:
        self._server.back_up_files()

    async def restore(self) -> None:
        await self._server.restore_files()


@pytest_asyncio.fixture(params=["pg_dump", "pg_basebackup"])
async def backup(
    request: pytest.FixtureRequest, postgres: PostgresServer, database: str
) -> AsyncIterator[Dump | Files]:
    if request.param == "pg_dump":
        yield Dump(postgres, database)
        return
    server = PostgresServer()
    try:
        await server.start()
        yield Files(server)
    finally:
        server.remove()


@pytest.fixture(autouse=True)
def may_apply_anew() -> None:
    Slow.may_apply = asyncio.Event()


@asynccontextmanager
async def serving(database: str, keptn: FakeKeptn, folder: Path) -> AsyncIterator[Service]:
    (folder / "policy.yaml").write_text(f"version: 1\nrules: {CAREFUL}\n")
    policy = folder / "policy.yaml"
    async with provider(database, keptn, Slow, policy=policy, watch_seconds=3600) as service:
        yield service


async def sent(keptn: FakeKeptn, service: Service, to: str) -> str:
    event: dict[str, Any] = triggered("slow", 5, service=to)
    await keptn.deliver(event, to=event_url(service))
    return str(event["id"])


async def approve(service: Service, execution: str) -> None:
    assert await service.journal.answer(execution, "approved", "ann", "go on") is None
    service.engine.look()


async def asks(service: Service, *executions: str) -> None:
    async def all_ask() -> bool:
        return {each.id for each in await service.journal.questions(9)} == set(executions)

    await until(all_ask)


async def test_a_restored_backup_acts_only_on_what_keptn_still_waits_for(
    backup: Dump | Files, tmp_path: Path
) -> None:
    async with FakeKeptn() as keptn:
        async with serving(backup.database, keptn, tmp_path) as service:
            begun = await sent(keptn, service, "carts")
            await until(lambda: "begun" in Dial.log)
            behind = await sent(keptn, service, "carts")
            asking = [await sent(keptn, service, to) for to in ("orders", "users", "queue")]
            answered, dropped, still_open = asking
            await asks(service, *asking)
            await backup.make()
            Slow.may_apply.set()
            await approve(service, answered)
            for each in (begun, behind, answered):
                await keptn.task_finished(each, 30)
        keptn.abort(dropped)
        done, told = len(Dial.log), len(keptn.received)
        await backup.restore()
        async with serving(backup.database, keptn, tmp_path) as service:
            assert "perhaps applied, and left" in await aborted(service, begun)
            for each in (behind, answered, dropped):
                assert "nothing was done" in await aborted(service, each)
            assert (len(Dial.log), len(keptn.received)) == (done, told)
            await asks(service, still_open)
            await approve(service, still_open)
            assert (await keptn.task_finished(still_open, 30)).result == "pass"


async def test_what_runs_while_a_backup_is_restored_is_cut_off(
    postgres: PostgresServer, database: str, tmp_path: Path
) -> None:
    async with FakeKeptn() as keptn, serving(database, keptn, tmp_path) as service:
        backup = postgres.back_up(database)
        leased = postgres.execute("SELECT until FROM replicas", database)
        begun = await sent(keptn, service, "carts")
        await until(lambda: postgres.execute("SELECT until FROM replicas", database) != leased)
        keptn.expect_unanswered(begun)
        await until(lambda: Dial.log == ["begun"])
        postgres.restore(database, backup)
        await until(lambda: Dial.log[-1] == "cut off")
        await until(service.journal.ownership.may_act)
        Slow.may_apply.set()
        later = await sent(keptn, service, "carts")  # it has the number of the one that was cut off
        assert (await keptn.task_finished(later, 30)).result == "pass"
