"""A pause by command: once it has returned, nothing begins to act."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from keptn_remedy import Action, Change, Context, Outcome, Plan, PlannedAction
from keptn_remedy.engine import threads
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from keptn_remedy.testing.fake_keptn import TaskOutcome
from tests.log_lines import captured_logs
from tests.ordering import JOURNAL, say
from tests.providing import Greet, event_url, provider
from tests.waiting import until


async def test_no_plain_action_without_a_policy_begins_after_the_command_has_returned(
    tmp_path: Path,
) -> None:
    with captured_logs():  # the commands write to the same stdout
        async with FakeKeptn() as keptn, provider(tmp_path / JOURNAL, keptn, Greet) as service:
            assert (await say(tmp_path, "pause", "--reason", "fire drill")).code == 0
            assert {(await _outcome(keptn, service, n)).result for n in range(8)} == {"fail"}
            assert Greet.greeted == []
            assert (await say(tmp_path, "resume")).code == 0
            assert (await _outcome(keptn, service, 8)).result == "pass"


def one_thread(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Leave one thread for all actions. What is returned notes who asked for it."""
    monkeypatch.setattr(threads, "MOST_THREADS", 1)
    asked: list[str] = []
    call = threads.Threads.call

    def note(self: threads.Threads, work: Any, name: str, *others: Any) -> Any:
        asked.append(name)
        return call(self, work, name, *others)

    monkeypatch.setattr(threads.Threads, "call", note)
    return asked


@pytest.mark.parametrize("action", ["plain", "planned"])
async def test_who_waits_for_a_thread_does_not_begin_after_the_command_has_returned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    asked = one_thread(monkeypatch)
    gate, begun = threading.Event(), list[str]()

    def work(context: Context) -> None:
        begun.append(context.trigger.service)
        gate.wait(10)

    class Plain(Action):
        name = "plain"

        def run(self, context: Context, value: Any) -> Outcome:
            work(context)
            return Outcome.passed("done")

    class Planned(PlannedAction):
        name = "planned"

        async def plan(self, context: Context, value: Any) -> Plan:
            return Plan((Change(context.trigger.service, "light", "on", "off"),))

        def apply(self, context: Context, plan: Plan) -> None:
            work(context)

        async def verify(self, context: Context, plan: Plan) -> Outcome:
            return Outcome.passed("done")

        async def undo(self, context: Context, plan: Plan) -> None:
            begun.append("undo")

    with captured_logs():
        async with (
            FakeKeptn() as keptn,
            provider(tmp_path / JOURNAL, keptn, Plain, Planned) as service,
        ):
            first, second = (triggered(action, {}, service=name) for name in ("a", "b"))
            await keptn.deliver(first, to=event_url(service))
            await until(lambda: bool(begun))
            await keptn.deliver(second, to=event_url(service))
            await until(lambda: len(asked) == 2)
            assert (await say(tmp_path, "pause", "--reason", "fire drill")).code == 0
            gate.set()
            assert (await keptn.task_finished(first["id"])).result == "pass"
            assert (await keptn.task_finished(second["id"])).result == "fail"
            assert "fire drill" in str(keptn.finished(second["id"])[0].data["message"])
            assert begun == ["a"]
            # What has not begun counts for no rail.
            with closing(sqlite3.connect(tmp_path / JOURNAL)) as journal:
                counted = journal.execute("SELECT service FROM effects").fetchall()
            assert counted == ([("a",)] if action == "planned" else [])


async def test_an_undo_that_waits_for_a_thread_waits_for_the_end_of_the_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, gate, steps = one_thread(monkeypatch), threading.Event(), list[str]()

    class Plain(Action):
        name = "plain"

        def run(self, context: Context, value: Any) -> Outcome:
            gate.wait(10)
            return Outcome.passed("done")

    class Planned(PlannedAction):
        name = "planned"

        async def plan(self, context: Context, value: Any) -> Plan:
            return Plan((Change("lamp", "light", "on", "off"),))

        async def apply(self, context: Context, plan: Plan) -> None:
            steps.append("apply")

        async def verify(self, context: Context, plan: Plan) -> Outcome:
            return Outcome.failed("bright")

        def undo(self, context: Context, plan: Plan) -> None:
            steps.append("undo")

    with captured_logs():
        async with (
            FakeKeptn() as keptn,
            provider(tmp_path / JOURNAL, keptn, Plain, Planned) as service,
        ):
            first, second = triggered("plain", service="a"), triggered("planned", service="b")
            await keptn.deliver(first, to=event_url(service))
            await until(lambda: len(asked) == 1)
            await keptn.deliver(second, to=event_url(service))
            await until(lambda: len(asked) == 2)
            assert (await say(tmp_path, "pause", "--reason", "fire drill")).code == 0
            gate.set()
            await keptn.task_finished(second["id"])
            assert "after the pause" in str(keptn.finished(second["id"])[0].data["message"])
            assert steps == ["apply"]
            assert (await say(tmp_path, "resume")).code == 0
            await until(lambda: steps == ["apply", "undo"])
            await keptn.task_finished(first["id"])


async def _outcome(keptn: FakeKeptn, service: Service, number: int) -> TaskOutcome:
    event = triggered("greet", {}, service=f"service-{number}")
    await keptn.deliver(event, to=event_url(service))
    return await keptn.task_finished(event["id"])
