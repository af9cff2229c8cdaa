"""A provider without a distributor: the real process on a real NATS server, killed at random."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientSession
from nats.aio.client import Client
from nats.js.api import StreamConfig

from keptn_remedy.events import FINISHED, STARTED, STRUCTURED, TRIGGERED
from keptn_remedy.testing import FakeKeptn, triggered
from tests.end_to_end.provider_process import ProviderProcess
from tests.nats_server import NatsServer

KILLS = max(int(os.environ.get("KILLS", "0")), 12)
SEED = int(os.environ.get("KILL_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
LONGEST_LIFE_SECONDS = 1.5
BURST = 5


class Bus:
    """Keptn's NATS, its stream, and the services behind it: every report counts at FakeKeptn."""

    def __init__(self, client: Client, keptn: FakeKeptn, session: ClientSession) -> None:
        self._client = client
        self._keptn = keptn
        self._session = session

    async def begin(self) -> None:
        jetstream = self._client.jetstream()
        await jetstream.add_stream(StreamConfig(name="keptn", subjects=["sh.keptn.>"]))
        for subject in (STARTED, FINISHED):
            await self._client.subscribe(subject, cb=self._count)
        await self._client.flush()

    async def trigger(self, action: str, value: Any = None, **fields: Any) -> str:
        """Open a task, and publish its trigger as Keptn's dispatcher does."""
        event = triggered(action, value or {}, **fields)
        self._keptn.open(event)
        await self._client.jetstream().publish(TRIGGERED, orjson.dumps(event))
        return str(event["id"])

    async def _count(self, message: Any) -> None:
        headers = {"Content-Type": STRUCTURED}
        async with self._session.post(
            self._keptn.event_url, data=message.data, headers=headers
        ) as answer:
            assert answer.status == 200


@asynccontextmanager
async def provided(
    folder: Path, stream: str = "keptn"
) -> AsyncIterator[tuple[Bus, ProviderProcess, FakeKeptn]]:
    server = NatsServer(folder / "nats")
    await server.start()
    try:
        async with FakeKeptn() as keptn, server.client() as client, ClientSession() as session:
            bus = Bus(client, keptn, session)
            await bus.begin()
            environment = {"PUBSUB_URL": server.url}
            settings = {"transport": "nats", "nats_stream": stream, "keptn_api": keptn.url}
            async with ProviderProcess(
                folder / "provider", keptn, environment, finished_after_seconds=0, **settings
            ) as provider:
                yield bus, provider, keptn
    finally:
        server.stop()


async def test_a_trigger_is_answered_over_nats(tmp_path: Path) -> None:
    async with provided(tmp_path) as (bus, provider, keptn):
        await provider.start()
        execution = await bus.trigger("run-often")
        await keptn.wait_until(lambda: bool(keptn.finished(execution)))
        (finished,) = keptn.finished(execution)
        assert finished.data["result"] == "pass"
        assert (await provider.stop()).code == 0


async def test_no_kill_loses_or_doubles_anything_on_a_stream(tmp_path: Path) -> None:
    dice = random.Random(SEED)  # noqa: S311 - no secret
    async with provided(tmp_path) as (bus, provider, keptn):
        try:
            sent: list[str] = []
            for _ in range(KILLS):
                provider.launch()
                if dice.random() < 0.5:
                    await provider.ready()
                for _ in range(dice.randint(1, BURST)):
                    service = f"service-{dice.randint(1, 9)}"
                    sent.append(await bus.trigger("run-often", service=service))
                    await asyncio.sleep(dice.uniform(0, 0.05))
                await asyncio.sleep(dice.uniform(0, LONGEST_LIFE_SECONDS))
                provider.kill()
            await provider.start()
            await keptn.wait_until(lambda: all(keptn.finished(each) for each in sent), timeout=60)
            await provider.quiet()
        except BaseException as error:
            error.add_note(f"to repeat this: KILL_SEED={SEED} KILLS={KILLS}")
            raise
