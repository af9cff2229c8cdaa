"""A provider without a distributor: the real process on a real NATS server, killed at random.

`KILLS` raises the number of kills, `KILL_SEED` repeats a run that failed.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from keptn_remedy.testing import triggered
from keptn_remedy.testing.nats_keptn import NatsKeptn
from tests.end_to_end.provider_process import ProviderProcess
from tests.nats_server import NatsServer

KILLS = max(int(os.environ.get("KILLS", "0")), 8)
SEED = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
LONGEST_LIFE_SECONDS = 1.5
BURST = 5


@asynccontextmanager
async def provided(
    folder: Path, *, stream: bool = True
) -> AsyncIterator[tuple[NatsKeptn, ProviderProcess]]:
    server = NatsServer(folder / "nats")
    await server.start()
    try:
        async with (
            NatsKeptn(server.url, stream=stream) as keptn,
            ProviderProcess(folder / "provider", keptn) as provider,
        ):
            yield keptn, provider
    finally:
        server.stop()


async def test_a_trigger_is_answered_over_nats(tmp_path: Path) -> None:
    async with provided(tmp_path) as (keptn, provider):
        await provider.start()
        event = triggered("run-often", {})
        await keptn.deliver(event)
        assert (await keptn.task_finished(event["id"])).result == "pass"
        assert (await provider.stop()).code == 0


@pytest.mark.timeout(120 + 5 * KILLS)
@pytest.mark.parametrize("stream", [True, False])
async def test_no_kill_loses_or_doubles_anything(tmp_path: Path, stream: bool) -> None:
    """Without a stream, what comes while nobody listens is taken up by the sweep of a start: one
    trigger of each service, so they are spread over many.
    """
    dice = random.Random(SEED)  # noqa: S311 - no secret
    services = 9 if stream else 100_000
    async with provided(tmp_path, stream=stream) as (keptn, provider):
        try:
            sent: list[str] = []
            for _ in range(KILLS):
                provider.launch()
                if dice.random() < 0.5:
                    await provider.ready()
                for _ in range(dice.randint(1, BURST)):
                    service = f"service-{dice.randrange(services)}"
                    event = triggered("run-often", {}, service=service)
                    await keptn.deliver(event)
                    sent.append(event["id"])
                    await asyncio.sleep(dice.uniform(0, 0.05))
                await asyncio.sleep(dice.uniform(0, LONGEST_LIFE_SECONDS))
                provider.kill()
            await provider.start()
            await keptn.wait_until(lambda: all(map(keptn.is_complete, sent)), timeout=110)
            await provider.quiet()
        except BaseException as error:
            error.add_note(f"to repeat this: KILL_SEED={SEED} KILLS={KILLS}")
            raise
