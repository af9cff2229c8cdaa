"""The provider with its journal on a real PostgreSQL, also while that is away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from tests.core.ops.page.surfing import ASK, house
from tests.end_to_end.provider_process import ProviderProcess
from tests.postgres_server import PostgresServer
from tests.providing import Greet, event_url, get_json, ops_url, provider
from tests.waiting import until


@pytest_asyncio.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[str]:
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


async def test_a_trigger_that_comes_three_times_is_answered_once(database: str) -> None:
    async with FakeKeptn() as keptn, provider(database, keptn, Greet) as service:
        event = triggered("greet", {"name": "Ada"})
        await asyncio.gather(*(keptn.deliver(event, to=event_url(service)) for _ in range(3)))
        outcome = await keptn.task_finished(event["id"])
        assert (outcome.status, outcome.result) == ("succeeded", "pass")
        assert len(keptn.started(event["id"])) == len(keptn.finished(event["id"])) == 1
        ready = await get_json(ops_url(service, "/readyz"))
        shown = await get_json(ops_url(service, "/api/executions"))
    assert ready["degraded"] == []
    assert [each["id"] for each in shown["executions"]] == [event["id"]]


async def test_the_page_is_served_and_orders(database: str, tmp_path: Path) -> None:
    async with house(tmp_path, policy=ASK, journal=database) as at:
        event_id = await at.send("dial", 5)
        await at.asks(event_id)
        greeted = await at.send("greet", {"name": "Ada"}, service="orders")
        await at.has_ended(greeted)
        ben = await at.visitor("approver")
        screens = {
            "/": "Now",
            "/inbox": "dial",
            "/executions?service=orders&result=pass": "greet",
            f"/executions/{event_id}": "a person looks first",
            "/rails": "a person looks first",
            "/actions": "greet",
        }
        for address, shown in screens.items():
            seen = await ben.get(address)
            assert (seen.status, shown in seen.text) == (200, True), address
        asks = await ben.get(f"/executions/{event_id}")
        form = {"form_token": asks.form_token, "digest": asks.digest}
        assert (await ben.post(f"/executions/{event_id}/approve", **form)).status == 303
        await at.has_ended(event_id)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
async def test_a_server_that_is_away_refuses_events_and_all_heals(
    postgres: PostgresServer, database: str, number: signal.Signals
) -> None:
    async with FakeKeptn() as keptn, provider(database, keptn, Greet) as service:
        before, after = triggered("greet", {"name": "Ada"}), triggered("greet", {"name": "Bob"})
        await keptn.deliver(before, to=event_url(service))
        await keptn.task_finished(before["id"])
        postgres.stop(number)
        try:
            refused = await keptn.deliver(after, to=event_url(service))
            assert refused.status == 503
            assert not await is_ready(service)
        finally:
            await postgres.start()
        await until(lambda: is_ready(service))
        await keptn.deliver(after, to=event_url(service))
        await keptn.task_finished(after["id"])
        assert len(keptn.finished(before["id"])) == len(keptn.finished(after["id"])) == 1


async def test_a_process_that_is_killed_goes_on_where_it_was(database: str, tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn, journal=database) as process:
        await process.start()
        process.shut("gate")
        first, second = triggered("run-often", {"gate": "gate"}), triggered("run-often")
        await keptn.deliver(first, to=process.url)
        await process.runs(first["id"])
        await keptn.deliver(second, to=process.url)
        process.kill()
        process.open("gate")
        await process.start()
        # The lease of the one that was killed takes 5 s to end, and its reports rest for 2 s more.
        assert (await keptn.task_finished(first["id"], 60)).result == "pass"
        assert (await keptn.task_finished(second["id"], 60)).result == "pass"
        assert len(process.traces("ran", second["id"])) == 1


async def is_ready(service: Service) -> bool:
    async with ClientSession() as session, session.get(ops_url(service, "/readyz")) as answer:
        return answer.status == 200
