"""A provider without a distributor: the real process on a real NATS server, killed at random.

`KILLS` raises the number of kills, and adds a run without a stream; `KILL_SEED` repeats one.
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

FAR = "KILLS" in os.environ
KILLS = max(int(os.environ.get("KILLS", "0")), 12)
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
@pytest.mark.parametrize("stream", [True, False] if FAR else [True])
async def test_no_kill_loses_or_doubles_anything(tmp_path: Path, stream: bool) -> None:
    """Without a stream the sweep takes up what came while nobody listened, a minute later: such a
    run is for `KILLS` alone.
    """
    dice = random.Random(SEED)  # noqa: S311 - no secret
    async with provided(tmp_path, stream=stream) as (keptn, provider):
        try:
            sent: list[str] = []
            for _ in range(KILLS):
                provider.launch()
                if dice.random() < 0.5:
                    await provider.ready()
                for _ in range(dice.randint(1, BURST)):
                    event = triggered("run-often", {}, service=f"service-{dice.randint(1, 9)}")
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
