"""The policy of a real process: SIGHUP has it read at once, and a bad one changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from signal import SIGHUP
from typing import Any

import orjson
import pytest_asyncio
from aiohttp import ClientSession

from keptn_remedy.testing import FakeKeptn, triggered
from tests.end_to_end.provider_process import START_SECONDS, ProviderProcess
from tests.waiting import until

DENIES = "version: 1\nrules: [{name: stop, decision: deny}]"
ALLOWS = "version: 1\nrules: [{name: go, decision: allow}]"
BAD = "version: 1\nrules: [{name: typo, decison: deny}]"


class Served:
    """A process with a policy file."""

    def __init__(self, provider: ProviderProcess, keptn: FakeKeptn, policy: Path) -> None:
        self.provider = provider
        self.policy = policy
        self._keptn = keptn

    async def message(self) -> str:
        """What becomes of one more execution."""
        event = triggered("set-file")
        await self._keptn.deliver(event, to=self.provider.url)
        await self._keptn.task_finished(event["id"])
        (finished,) = self._keptn.finished(event["id"])
        return str(finished.data["message"])

    async def readyz(self) -> tuple[int, list[str]]:
        async with (
            ClientSession() as session,
            session.get(f"{self.provider.ops_url}readyz") as answer,
        ):
            told: dict[str, Any] = await answer.json()
            return answer.status, told["degraded"]

    async def is_degraded(self) -> bool:
        return bool((await self.readyz())[1])

    def logged(self, message: str) -> int:
        return self.provider.log.read_text().count(message)


@pytest_asyncio.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    policy = tmp_path / "policy.yaml"
    policy.write_text(ALLOWS)
    async with (
        FakeKeptn() as keptn,
        ProviderProcess(tmp_path / "provider", keptn, policy=policy) as provider,
    ):
        await provider.start()
        yield Served(provider, keptn, policy)
        await provider.stop()


async def test_the_log_says_at_the_start_which_policy_is_in_force(served: Served) -> None:
    (line,) = (
        line
        for line in map(orjson.loads, served.provider.log.read_text().splitlines())
        if line["message"] == "serving"
    )
    assert (line["policy"], line["policy_rules"]) == (str(served.policy), 1)
    assert line["policy_sha256"] == hashlib.sha256(ALLOWS.encode()).hexdigest()[:12]


async def test_sighup_takes_a_changed_policy_and_keeps_serving(served: Served) -> None:
    assert await served.message() == "written"
    served.policy.write_text(DENIES)
    served.provider.send(SIGHUP)
    await until(lambda: served.logged("the policy is in force") == 1)
    assert "refused by guard-rail decision (stop)" in await served.message()


async def test_sighup_while_it_starts_ends_nothing(served: Served) -> None:
    provider = served.provider
    await provider.stop()
    provider.launch()
    await until(lambda: provider.heeds(SIGHUP), within_seconds=START_SECONDS)

    async def is_ready() -> bool:
        provider.send(SIGHUP)
        return await provider.readiness() == 200

    await until(is_ready, within_seconds=START_SECONDS)
    assert await served.message() == "written"


async def test_a_bad_policy_is_told_and_the_last_good_one_survives_a_kill(served: Served) -> None:
    served.policy.write_text(DENIES)
    served.provider.send(SIGHUP)
    await until(lambda: served.logged("the policy is in force") == 1)
    served.policy.write_text(BAD)
    served.provider.send(SIGHUP)
    await until(served.is_degraded)
    await until(lambda: served.logged("the policy was rejected") == 1)
    status, degraded = await served.readyz()
    assert status == 200
    assert "did you mean decision?" in degraded[0]
    assert "refused by guard-rail decision (stop)" in await served.message()
    served.provider.kill()
    await served.provider.start()
    assert await served.is_degraded()
    assert "refused by guard-rail decision (stop)" in await served.message()
