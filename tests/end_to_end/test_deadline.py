"""What ignores its deadline is finished all the same: Keptn would wait for it without end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from keptn_remedy import Action, Context, Outcome, Plan
from keptn_remedy.action import AnyAction
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from tests.clocks import HastyClock
from tests.providing import Dial, Greet, event_url, provider
from tests.waiting import until


class Serving(NamedTuple):
    """A provider, the Keptn that it serves, and its clock."""

    keptn: FakeKeptn
    service: Service
    clock: HastyClock


@asynccontextmanager
async def serving(folder: Path, *actions: type[AnyAction]) -> AsyncIterator[Serving]:
    """A provider whose clock can be moved; code that hears nothing ends with the test."""
    Deaf.cut_off, DeafDial.state = 0, {"dial": 0}
    Deaf.enough = DeafDial.enough = asyncio.Event()
    clock = HastyClock()
    async with (
        FakeKeptn() as keptn,
        provider(folder / "journal.db", keptn, *actions, clock=clock) as service,
    ):
        try:
            yield Serving(keptn, service, clock)
        finally:
            Deaf.enough.set()


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
    async with serving(tmp_path, Deaf) as (keptn, service, clock):
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
        assert service.engine.dispatcher.running == 1
        Deaf.enough.set()
        await until(lambda: service.engine.dispatcher.running == 0)
        assert len(keptn.finished(event["id"])) == 1
        counted = service.engine.runtime.metrics.finished
        assert counted("deaf", "errored", "fail")._value.get() == 1
        assert counted("deaf", "succeeded", "pass")._value.get() == 0


class DeafThread(Action):
    """Runs in a thread, which nobody can stop."""

    name = "deaf-thread"
    timeout = 0.02
    running: ClassVar[int] = 0
    enough: ClassVar[threading.Event]

    def run(self, context: Context, value: Any) -> Outcome:
        DeafThread.running += 1
        self.enough.wait()
        DeafThread.running -= 1
        return Outcome.passed("at last")


async def test_a_thread_that_does_not_end_is_overdue_and_keeps_its_service(tmp_path: Path) -> None:
    DeafThread.running, DeafThread.enough = 0, threading.Event()
    async with serving(tmp_path, DeafThread) as (keptn, service, clock):
        try:
            event, waiting = triggered("deaf-thread"), triggered("deaf-thread")
            await keptn.deliver(event, to=event_url(service))
            await until(lambda: DeafThread.running == 1)
            clock.shift = 60
            outcome = await keptn.task_finished(event["id"])
            assert (outcome.status, outcome.result) == ("errored", "fail")
            assert "after it was cut off" in keptn.finished(event["id"])[0].data["message"]
            await keptn.deliver(waiting, to=event_url(service))
            assert (await keptn.task_finished(waiting["id"])).status == "errored"
            assert DeafThread.running == 1  # neither repeated nor joined by another
        finally:
            DeafThread.enough.set()
        await until(lambda: service.engine.dispatcher.running == 0)


async def test_who_waits_for_its_service_is_not_kept_waiting(tmp_path: Path) -> None:
    async with serving(tmp_path, Deaf, Greet) as (keptn, service, clock):
        stuck, waiting = triggered("deaf"), triggered("greet")
        await keptn.deliver(stuck, to=event_url(service))
        await until(lambda: Deaf.cut_off > 0)
        await keptn.deliver(waiting, to=event_url(service))
        clock.shift = 60
        await keptn.task_finished(stuck["id"])
        outcome = await keptn.task_finished(waiting["id"])
        held = f"its service is held by execution {stuck['id']}, which ignores its deadline"
        assert (outcome.status, outcome.result) == ("errored", "fail")
        assert keptn.finished(waiting["id"])[0].data["message"] == held
        Deaf.enough.set()
        await until(lambda: service.engine.dispatcher.running == 0)
        after = triggered("greet")
        await keptn.deliver(after, to=event_url(service))
        assert (await keptn.task_finished(after["id"])).result == "pass"


class DeafDial(Dial):
    """A change that hears neither its time-out nor its cancellation."""

    timeout = 0.02
    enough: ClassVar[asyncio.Event]

    async def apply(self, context: Context, plan: Plan) -> None:
        while not self.enough.is_set():
            with suppress(asyncio.CancelledError):
                await self.enough.wait()
        await super().apply(context, plan)


async def test_who_waits_for_a_target_is_not_kept_waiting(tmp_path: Path) -> None:
    async with serving(tmp_path, DeafDial) as (keptn, service, clock):
        stuck, waiting = triggered("dial", 3), triggered("dial", 4, service="other")
        await keptn.deliver(stuck, to=event_url(service))
        await until(lambda: service.engine.locks.holder("dial") == stuck["id"])
        await keptn.deliver(waiting, to=event_url(service))
        clock.shift = 60
        await keptn.task_finished(stuck["id"])
        outcome = await keptn.task_finished(waiting["id"])
        held = f"its target is held by execution {stuck['id']}, which ignores its deadline"
        assert (outcome.status, outcome.result) == ("errored", "fail")
        assert keptn.finished(waiting["id"])[0].data["message"] == held
        DeafDial.enough.set()
        await until(lambda: service.engine.dispatcher.running == 0)
        assert service.engine.locks.holder("dial") is None
