"""Actions that were written for the previous release run unchanged.

`purge_cache` is the example of its README, `set_limit` that of its guide to planned actions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydantic import HttpUrl

from keptn_remedy.testing import FakeKeptn, HttpPeer, http_peer, run_action, triggered
from tests.commands import remedy
from tests.end_to_end.previous_release.purge_cache import PurgeCache
from tests.end_to_end.provider_process import ProviderProcess

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


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    async with http_peer() as peer, FakeKeptn() as keptn:
        urls = {"PURGE_CACHE_CDN_URL": f"{peer.url}/v1/", "GATEWAY_URL": f"{peer.url}/"}
        async with ProviderProcess(tmp_path, keptn, urls, actions_dir=DROP_IN) as provider:
            await provider.start()
            yield Installation(keptn, provider, peer)
            await provider.quiet()


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
