"""What one replica does for all: one of them does it, and another once that one has died."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from keptn_remedy.engine.dispatcher import Dispatcher
from keptn_remedy.journal import maintenance
from keptn_remedy.journal.postgres import PostgresJournal
from keptn_remedy.keptn.aborted_tasks import AbortedTasks
from keptn_remedy.keptn.missed_triggers import MissedTriggers
from keptn_remedy.keptn.signs_of_life import SignsOfLife
from keptn_remedy.notifications.notifier import Notifier
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from keptn_remedy.testing.polling_keptn import PollingKeptn
from tests.core.journal.test_sharing import freeze
from tests.postgres_server import PostgresServer
from tests.providing import Greet, provider
from tests.waiting import until

# Each knows its journal, and with that its replica.
DUTIES: list[tuple[type[Any], str]] = [
    (MissedTriggers, "run"),
    (AbortedTasks, "run"),
    (SignsOfLife, "run"),
    (Dispatcher, "announce_late_ones"),
    (Notifier, "run"),
]


@pytest_asyncio.fixture
async def database(postgres: PostgresServer) -> AsyncIterator[str]:
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.fixture
def at_work(monkeypatch: pytest.MonkeyPatch) -> defaultdict[Any, set[str]]:
    """By its journal, what each replica does now of what one does for all."""
    found: defaultdict[Any, set[str]] = defaultdict(set)

    def watch(owner: Any, name: str, method: Callable[..., Awaitable[None]]) -> None:
        async def run(first: Any, *others: Any) -> None:
            journal = getattr(first, "_journal", first)
            found[journal].add(name)
            try:
                await method(first, *others)
            finally:
                found[journal].remove(name)

        monkeypatch.setattr(owner, method.__name__, run)

    for duty, method in DUTIES:
        watch(duty, duty.__name__, getattr(duty, method))
    watch(maintenance, "prune", maintenance.prune)
    return found


async def two(stack: AsyncExitStack, database: str, keptn: FakeKeptn) -> tuple[Service, Service]:
    """The first one has the duty. What it compares with Keptn, it compares when it begins."""
    first, second = [
        await stack.enter_async_context(provider(database, keptn, Greet, watch_seconds=3600))
        for _ in range(2)
    ]
    return first, second


async def test_what_one_does_for_all_is_done_by_one_and_by_another_once_that_one_has_died(
    database: str, at_work: defaultdict[Any, set[str]]
) -> None:
    every_duty = {duty.__name__ for duty, _ in DUTIES} | {"prune"}
    async with FakeKeptn() as keptn, AsyncExitStack() as stack:
        first, second = await two(stack, database, keptn)
        await until(lambda: at_work[first.journal] == every_duty)
        assert at_work[second.journal] == set()
        lost = triggered("greet", {"name": "Ada"})
        keptn.open(lost)  # nobody delivers it
        assert isinstance(first.journal, PostgresJournal)
        freeze(first.journal)
        await until(
            lambda: at_work[second.journal] == every_duty and at_work[first.journal] == set()
        )
        await keptn.task_finished(lost["id"], 30)


async def test_all_replicas_share_one_registration(database: str) -> None:
    async with PollingKeptn() as keptn, AsyncExitStack() as stack:
        services = await two(stack, database, keptn)
        await until(lambda: all(each.uniform and each.uniform.id for each in services))
        [registered] = keptn.integrations.values()
        assert {each.uniform and each.uniform.id for each in services} == {registered.id}
        [subscription] = registered.subscriptions
        subscription["filter"] = {"projects": ["none"], "stages": None, "services": None}
        for each in services:
            assert each.uniform
            await each.uniform.beat()
            assert [one.filters.projects for one in each.uniform.subscriptions] == [("none",)]
