"""The preview: an answer within its time, whatever an action's code does."""

from __future__ import annotations

import threading
from typing import Any

import orjson
import pytest

from keptn_remedy import Change, Context, Plan, PlannedAction
from keptn_remedy.engine import preview
from keptn_remedy.engine.preview import Preview
from keptn_remedy.events import stored_trigger
from keptn_remedy.testing import registry_of, triggered
from tests.core.engine import test_runner
from tests.core.engine.test_runner import Lamp, Machine
from tests.waiting import until

machine = test_runner.machine


async def nothing_past(decide: Any) -> Any:
    raise AssertionError("nobody asks the past here")


async def test_plans_that_never_come_keep_nobody_waiting(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, stuck = threading.Event(), list[Context]()

    class Stuck(PlannedAction):
        name = "stuck"

        def plan(self, context: Context, value: Any) -> Plan:
            stuck.append(context)
            goes_on.wait(60)
            return Plan((Change("lamp", "light", "on", "off"),))

        apply, verify, undo = Lamp.apply, Lamp.verify, Lamp.undo

    monkeypatch.setattr(preview, "LONGEST_SECONDS", 0.2)
    monkeypatch.setattr(preview, "MOST_AT_ONCE", 1)
    runtime, guard = machine.factory.runtime, machine.factory.guard
    made = Preview(runtime, registry_of(Stuck), guard, nothing_past)
    try:
        for _ in range(2):  # the second one never comes to its plan
            previewed = await made.of(stored_trigger(orjson.dumps(triggered("stuck"))))
            assert previewed.failure
            assert previewed.failure.message == "there is no plan after 0.2 s"
        assert len(stuck) == 1
    finally:
        goes_on.set()
    await until(lambda: not made._under_way)
