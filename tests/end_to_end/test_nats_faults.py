"""Faults of NATS while events come: nothing is lost and nothing doubled, as Keptn counts.

`EVENTS` raises the number of events, `FAULT_SEED` repeats a run that failed.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from nats.errors import Error as NatsError

from keptn_remedy import Action, Context, Outcome
from keptn_remedy.testing import triggered
from keptn_remedy.testing.nats_keptn import NatsKeptn
from tests.nats_server import NatsServer
from tests.providing import event_url, provider
from tests.waiting import until

EVENTS = max(int(os.environ.get("EVENTS", "0")), 200)
SEED = int(os.environ.get("FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)
FAULTS = max(EVENTS // 100, 5)
BATCH = 10


class Note(Action):
    """Passes."""

    name = "note"

    async def run(self, context: Context, value: Any) -> Outcome:
        return Outcome.passed("noted")


class Faults:
    """What befalls one server, and the way to it."""

    def __init__(self, server: NatsServer, keptn: NatsKeptn) -> None:
        self._server = server
        self._keptn = keptn

    @property
    def all(self) -> list[Callable[[], Coroutine[Any, Any, None]]]:
        return [self.restarted, self.killed, self.frozen, self.cut, self.silenced]

    async def restarted(self) -> None:
        self._server.stop()
        await self._server.start()

    async def killed(self) -> None:
        self._server.stop(signal.SIGKILL)
        await self._server.start()

    async def frozen(self) -> None:
        self._server.freeze()
        await asyncio.sleep(0.5)
        self._server.send(signal.SIGCONT)

    async def cut(self) -> None:
        await self._keptn.proxy.stop_listening()
        await asyncio.sleep(0.2)
        await self._keptn.proxy.listen()

    async def silenced(self) -> None:
        self._keptn.proxy.hold(passed_on=False)
        await asyncio.sleep(0.5)
        self._keptn.proxy.release()


async def _deliver(keptn: NatsKeptn, event: dict[str, Any], url: str) -> None:
    """As Keptn, whose dispatcher tries again until its NATS has taken the event."""

    async def is_taken() -> bool:
        try:
            await keptn.deliver(event, to=url)
        except (NatsError, OSError):
            return False
        return True

    await until(is_taken)


@pytest.mark.timeout(120 + EVENTS // 5)
@pytest.mark.parametrize("stream", [True, False])
async def test_no_fault_of_nats_loses_or_doubles_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    """Without a stream the sweep takes up what was lost, and sends again what didn't arrive."""
    monkeypatch.setattr("keptn_remedy.keptn.missed_triggers.SWEEP_SECONDS", 2.0)
    monkeypatch.setattr("keptn_remedy.keptn.transports.nats_stream.ACK_WAIT_SECONDS", 2.0)
    dice = random.Random(SEED)  # noqa: S311 - no secret
    server = NatsServer(tmp_path / "nats")
    await server.start()
    try:
        async with (
            NatsKeptn(server.url, stream=stream) as keptn,
            provider(tmp_path / "journal.db", keptn, Note) as service,
        ):
            faults = Faults(server, keptn)
            sent: list[str] = []
            left = [dice.choice(faults.all) for _ in range(FAULTS - 5)] + faults.all
            dice.shuffle(left)
            for number in range(0, EVENTS, BATCH):
                events = [
                    triggered("note", {}, service=f"s{dice.randrange(50)}") for _ in range(BATCH)
                ]
                sent += [event["id"] for event in events]
                work: list[Coroutine[Any, Any, None]] = [
                    _deliver(keptn, event, event_url(service)) for event in events
                ]
                if number % (EVENTS // FAULTS) < BATCH and left:
                    work.append(left.pop()())
                await asyncio.gather(*work)
            await keptn.wait_until(lambda: all(map(keptn.is_complete, sent)), timeout=60)
    except BaseException as error:
        error.add_note(f"to repeat this: FAULT_SEED={SEED} EVENTS={EVENTS}")
        raise
    finally:
        server.stop(signal.SIGKILL)
