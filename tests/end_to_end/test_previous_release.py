"""Actions that were written for the previous release run unchanged, and its journal is taken over.

`purge_cache` is the example of its README, `set_limit` that of its guide to planned actions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import HttpUrl

from keptn_remedy.testing import FakeKeptn, HttpPeer, http_peer, run_action, triggered
from tests.commands import remedy
from tests.core.journal.schema_2 import write_schema_2
from tests.end_to_end.previous_release.purge_cache import PurgeCache
from tests.end_to_end.provider_process import ProviderProcess, eventually

DROP_IN = Path(__file__).parent / "previous_release"


@dataclass(frozen=True)
class Installation:
    """A provider that was given the actions of the previous release, and what they talk to."""

    keptn: FakeKeptn
    provider: ProviderProcess
    peer: HttpPeer

    async def result(self, action: str, value: object) -> tuple[str, str]:
        """The execution's id, and what Keptn was told."""
        execution = str((trigger := triggered(action, value))["id"])
        answer = await self.keptn.deliver(trigger, to=self.provider.url)
        assert answer.status == 202
        await self.keptn.task_finished(execution)
        (finished,) = self.keptn.finished(execution)
        return execution, f"{finished.data['result']}: {finished.data['message']}"

    @property
    def asked(self) -> list[str]:
        """The requests of the actions."""
        return [f"{r.method} {r.path} {r.body.decode()}".strip() for r in self.peer.requests]


@asynccontextmanager
async def installed(folder: Path, **others: object) -> AsyncIterator[Installation]:
    """With a provider that is to be started; `others` are settings of it."""
    async with http_peer() as peer, FakeKeptn() as keptn:
        urls = {"PURGE_CACHE_CDN_URL": f"{peer.url}/v1/", "GATEWAY_URL": f"{peer.url}/"}
        async with ProviderProcess(folder, keptn, urls, actions_dir=DROP_IN, **others) as provider:
            yield Installation(keptn, provider, peer)


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    async with installed(tmp_path) as installation:
        await installation.provider.start()
        yield installation
        await installation.provider.quiet()


async def test_a_plain_action_runs_in_the_provider(installation: Installation) -> None:
    _, told = await installation.result("purge-cache", {"zone": "shop"})
    assert told == "pass: purged shop"
    assert installation.asked == ['POST /v1/purge {"zone": "shop"}']


async def test_a_planned_action_runs_in_the_provider_and_is_undone(
    installation: Installation,
) -> None:
    peer, provider = installation.peer, installation.provider
    for found in (5, None, 3, 3):  # to plan; the change; to verify; to undo
        peer.answer(json=None if found is None else {"limit": found})
    execution, told = await installation.result("set-limit", {"checkout": 3})
    assert told == "pass: limits set: route:checkout limit: 5 -> 3"
    journal = {"REMEDY_JOURNAL": str(provider.journal)}
    said = await asyncio.to_thread(remedy, provider.folder, "undo", execution, **journal)
    assert (said.code, said.err) == (0, "")
    assert installation.asked == [
        "GET /route:checkout",
        'PUT /route:checkout {"limit": 3}',
        "GET /route:checkout",
        "GET /route:checkout",
        'PUT /route:checkout {"limit": 5}',
    ]


async def test_a_plain_action_runs_in_the_test_kit() -> None:
    async with http_peer() as cdn:
        settings = PurgeCache.Settings(cdn_url=HttpUrl(cdn.url))
        outcome = await run_action(PurgeCache, {"zone": "shop"}, settings=settings)
    assert outcome.message == "purged shop"


async def test_its_journal_is_taken_over(tmp_path: Path) -> None:
    for_good = 36_500  # the file is older than what is kept otherwise
    async with installed(tmp_path, retention_days=for_good) as installation:
        keptn, provider, peer = installation.keptn, installation.provider, installation.peer
        write_schema_2(provider.journal)
        for (trigger,) in provider.rows("SELECT event FROM executions"):
            keptn.open(trigger)
        for told in ("purged", "not-found", "undone", "armed", "parked"):
            keptn.expect_unanswered(told)
        for told in ("planned", "asking"):
            keptn.answer_as("keptn-remedy", "started", told)
        for found in (None, 10, None, 8, None):  # change, check; purge; look, undo
            peer.answer(json=None if found is None else {"limit": found})
        await provider.start()
        results = {
            execution: (await keptn.task_finished(execution)).result
            for execution in ("planned", "asking", "accepted", "untold")
        }
        assert results == {
            "planned": "pass",
            "asking": "fail",
            "accepted": "pass",
            "untold": "pass",
        }
        answer = await keptn.deliver(keptn.problem_closed("armed"), to=provider.url)
        assert answer.status == 200
        await eventually(lambda: len(peer.requests) == 5, "the undo")
        assert installation.asked == [
            'PUT /route:search {"limit": 10}',
            "GET /route:search",
            'POST /v1/purge {"zone": "search"}',
            "GET /route:basket",
            'PUT /route:basket {"limit": 10}',
        ]
        await eventually(lambda: not provider.unsent(), "every report sent")
        parked = provider.rows("SELECT kind FROM reports WHERE state = 'parked' ORDER BY seq")
        assert parked == [("started",), ("finished",)]
        memory = provider.rows("SELECT value FROM memory WHERE action = 'purge-cache'")
        assert memory == [(b'{"name":"shop","purged":1}',)]
