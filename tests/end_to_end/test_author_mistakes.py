"""Authors' mistakes stay theirs: the process, its other actions and its operator are not harmed."""

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path
from signal import SIGTERM
from typing import Any, ClassVar

import orjson
import pytest

from keptn_remedy import Action, Change, Context, Outcome, Plan, PlannedAction
from keptn_remedy.testing import FakeKeptn, triggered
from tests.end_to_end.provider_process import ProviderProcess, eventually
from tests.providing import event_url, get_json, provider
from tests.waiting import until

FROM_WITHIN = "the action was cancelled from within"


async def test_an_action_that_exits_and_a_broken_file_harm_no_neighbour(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        (tmp_path / "actions" / "broken.py").write_text("x = 1\ndef (")
        await provider.start()
        provider.shut("gate")
        neighbour = triggered("run-once", {"gate": "gate"}, service="orders")
        exiting = triggered("exit")
        for event in (neighbour, exiting):
            await keptn.deliver(event, to=provider.url)

        await keptn.task_finished(exiting["id"])
        told = keptn.finished(exiting["id"])[0].data
        assert (told["status"], told["result"]) == ("errored", "fail")
        assert told["message"] == "the action called sys.exit(4)"

        provider.open("gate")
        assert (await keptn.task_finished(neighbour["id"])).result == "pass"
        assert len(provider.traces("ran", neighbour["id"])) == 1
        (degraded,) = (await get_json(f"{provider.ops_url}readyz"))["degraded"]
        assert "broken.py: can't be loaded: line 2: SyntaxError" in degraded
        await provider.quiet()


async def test_a_blocked_loop_is_told_and_a_second_signal_ends_its_process(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, ProviderProcess(tmp_path, keptn) as provider:
        await provider.start()
        provider.shut("gate")
        event = triggered("block-loop", {"gate": "gate"})
        await keptn.deliver(event, to=provider.url)
        await provider.runs(event["id"])

        await eventually(
            lambda: told_of_the_loop(provider), "the line that names the action", seconds=60
        )
        (told,) = told_of_the_loop(provider)
        assert told["execution"] == event["id"]
        assert Path(told["file"]).name == "crash_actions.py"
        assert told["line"]
        assert told["seconds"] == 2

        provider.send(SIGTERM)
        # The kernel merges signals that are pending: the first must have been heard.
        await provider.heard(SIGTERM)
        provider.send(SIGTERM)
        assert (await provider.exited(within=5)).code == 1

        provider.open("gate")
        await provider.start()
        assert (await keptn.task_finished(event["id"])).result == "pass"
        await provider.quiet()


def told_of_the_loop(provider: ProviderProcess) -> list[Any]:
    """The lines about this action: a slow machine may block the loop, too."""
    lines = provider.log.read_bytes().splitlines(keepends=True)
    told = [
        orjson.loads(line)
        for line in lines
        if b"the event loop is blocked" in line and line.endswith(b"\n")
    ]
    return [each for each in told if each.get("action") == "block-loop"]


def cancel_this_task() -> None:
    task = asyncio.current_task()
    assert task
    task.cancel()


class Quits(Action):
    """Cancels its own task, in the way that its value names."""

    name = "quits"
    Value = str
    runs: ClassVar[Counter[str]] = Counter()

    async def run(self, context: Context, value: str) -> Outcome:
        self.runs[value] += 1
        await getattr(self, value)()
        return Outcome.passed("done")

    async def at_an_await(self) -> None:
        cancel_this_task()
        await asyncio.sleep(0)

    async def at_the_end(self) -> None:
        cancel_this_task()

    async def and_fails(self) -> None:
        cancel_this_task()
        raise ValueError("its own")

    async def by_a_child(self) -> None:
        parent = asyncio.current_task()

        async def child() -> None:
            assert parent
            parent.cancel()

        async with asyncio.TaskGroup() as group:
            group.create_task(child())

    async def by_raising(self) -> None:
        raise asyncio.CancelledError

    async def and_goes_on(self) -> None:
        """As a library's time-out that counts no cancellations."""
        cancel_this_task()
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(0)


class QuitsWhile(PlannedAction):
    """Cancels its own task in the phase that its value names."""

    name = "quits-while"
    Value = str
    steps: ClassVar[dict[str, list[str]]] = {}

    async def plan(self, context: Context, value: str) -> Plan:
        self._step(value, "plan")
        return Plan((Change(value, "light", "on", "off"),), memo={"value": value})

    async def apply(self, context: Context, plan: Plan) -> None:
        self._step(plan.memo["value"], "apply")

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        self._step(plan.memo["value"], "verify")
        return Outcome.failed("bright")

    async def undo(self, context: Context, plan: Plan) -> None:
        self._step(plan.memo["value"], "undo")

    def _step(self, value: str, step: str) -> None:
        self.steps.setdefault(value, []).append(step)
        if value == step:
            cancel_this_task()


async def test_an_action_that_cancels_its_own_task_has_failed_once(tmp_path: Path) -> None:
    messages: dict[str, Any] = {}
    ways = ("at_an_await", "at_the_end", "and_fails", "by_a_child", "by_raising", "and_goes_on")
    phases = ("plan", "apply", "verify", "undo")
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "journal.db", keptn, Quits, QuitsWhile) as service,
    ):
        asked = {way: triggered("quits", way, service=way) for way in ways}
        asked |= {phase: triggered("quits-while", phase, service=phase) for phase in phases}
        for event in asked.values():
            await keptn.deliver(event, to=event_url(service))
        for name, event in asked.items():
            await keptn.task_finished(event["id"])
            messages[name] = keptn.finished(event["id"])[0].data["message"]
    assert Quits.runs == dict.fromkeys(ways, 1)
    assert messages.pop("and_goes_on") == "done"
    assert messages.pop("undo") == f"bright; UNDO FAILED: {FROM_WITHIN}"
    assert {messages.pop(phase) for phase in ("apply", "verify")} == {f"{FROM_WITHIN}; undone"}
    assert set(messages.values()) == {FROM_WITHIN}
    assert QuitsWhile.steps["apply"] == ["plan", "apply", "undo"]
    assert QuitsWhile.steps["undo"] == ["plan", "apply", "verify", "undo"]


class Vandal(Action):
    """Cancels a loop of the service."""

    name = "vandal"

    async def run(self, context: Context, value: Any) -> Outcome:
        for task in asyncio.all_tasks():
            if "Watchdog.run" in repr(task.get_coro()):
                task.cancel()
        return Outcome.passed("done")


async def test_a_process_with_a_cancelled_loop_is_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exits: list[int] = []
    monkeypatch.setattr("keptn_remedy.service.wiring.os._exit", exits.append)
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "journal.db", keptn, Vandal) as service,
    ):
        event = triggered("vandal")
        await keptn.deliver(event, to=event_url(service))
        await until(lambda: bool(exits))
        await keptn.task_finished(event["id"])
    assert exits == [1]
