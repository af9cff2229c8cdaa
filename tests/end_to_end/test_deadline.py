"""What ignores its deadline is finished all the same: Keptn would wait for it without end."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

from keptn_remedy import Action, Context, Outcome
from keptn_remedy.clock import Clock
from keptn_remedy.testing import FakeKeptn, triggered
from tests.providing import event_url, provider
from tests.waiting import until


class HastyClock(Clock):
    """Pauses between looks are short, and what is measured can be moved by hand."""

    shift = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.shift

    async def sleep(self, seconds: float) -> None:
        await super().sleep(min(seconds, 0.01))


class Deaf(Action):
    """Hears neither its time-out nor its cancellation."""

    name = "deaf"
    timeout = 0.02
    cut_off: ClassVar[int] = 0
    enough: ClassVar[asyncio.Event]

    async def run(self, context: Context, value: Any) -> Outcome:
        while not self.enough.is_set():
            try:
                await self.enough.wait()
            except asyncio.CancelledError:
                Deaf.cut_off += 1
        return Outcome.passed("at last")


async def test_an_attempt_that_ignores_its_deadline_is_finished_as_errored(tmp_path: Path) -> None:
    Deaf.cut_off, Deaf.enough = 0, asyncio.Event()
    clock = HastyClock()
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "j.db", keptn, Deaf, clock=clock) as service,
    ):
        event = triggered("deaf")
        await keptn.deliver(event, to=event_url(service))
        await until(lambda: Deaf.cut_off > 0)
        assert not keptn.finished(event["id"])
        clock.shift = 60
        outcome = await keptn.task_finished(event["id"])
        assert (outcome.status, outcome.result) == ("errored", "fail")
        assert "after it was cut off" in keptn.finished(event["id"])[0].data["message"]
        # Told once, whatever comes of it.
        await until(lambda: Deaf.cut_off > 1)
        assert service.dispatcher.running == 1
        Deaf.enough.set()
        await until(lambda: service.dispatcher.running == 0)
        assert len(keptn.finished(event["id"])) == 1
        counted = service.runner.means.metrics.finished
        assert counted("deaf", "errored", "fail")._value.get() == 1
        assert counted("deaf", "succeeded", "pass")._value.get() == 0
