"""The runner and what an earlier process left: plans, failures, too many runs, old switches."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest_asyncio

from keptn_remedy import Change, Context, Outcome, Plan, PlannedAction, events
from keptn_remedy.client import lent_session
from keptn_remedy.events import Replies
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.journal import Execution
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.masking import Mask
from keptn_remedy.means import Means
from keptn_remedy.metrics import Metrics
from keptn_remedy.rests import Rests
from keptn_remedy.runner import Runner
from keptn_remedy.steps import MAX_RUNS
from keptn_remedy.targets import Targets
from keptn_remedy.testing import ImpatientClock, registry_of, triggered

PLAN = Plan((Change("lamp", "light", "on", "off"),))


class Lamp(PlannedAction):
    """Notes the steps that are taken."""

    name = "lamp"
    steps: ClassVar[list[str]] = []

    async def plan(self, context: Context, value: Any) -> Plan:
        self.steps.append("plan")
        return PLAN

    async def apply(self, context: Context, plan: Plan) -> None:
        self.steps.append("apply")

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        self.steps.append("verify")
        return Outcome.passed("dark")

    async def undo(self, context: Context, plan: Plan) -> None:
        self.steps.append("undo")


@pytest_asyncio.fixture
async def runner(tmp_path: Path) -> AsyncIterator[Runner]:
    Lamp.steps.clear()
    journal = SqliteJournal.open(tmp_path / "journal.db")
    clock = ImpatientClock()
    async with lent_session() as http:
        means = Means(
            journal=journal,
            http=http,
            metrics=Metrics("test"),
            clock=clock,
            mask=Mask(),
            targets=Targets(),
            guard=Guard.built_in(journal, clock, ReplicaSettings()),
            rests=Rests(),
        )
        yield Runner(means, registry_of(Lamp), Replies("keptn-remedy"), tell=lambda unsent: None)
    await journal.close()


async def left(runner: Runner, **changes: Any) -> Execution:
    """An execution that an earlier process began."""
    trigger = events.stored_trigger(orjson.dumps(triggered("lamp")))
    execution = await runner.means.journal.accept(trigger, "lamp")
    assert execution
    return replace(execution, runs=1, **changes)


async def test_a_stored_plan_is_applied_again_without_planning(runner: Runner) -> None:
    outcome = await runner.run(await left(runner, plan=PLAN))
    assert (outcome.result, Lamp.steps) == ("pass", ["apply", "verify"])


async def test_an_undo_that_was_cut_off_is_taken_up_and_its_failure_told(runner: Runner) -> None:
    failure = Outcome.failed("overridden")
    outcome = await runner.run(await left(runner, plan=PLAN, failure=failure))
    assert outcome == Outcome.failed("overridden; undone")
    assert Lamp.steps == ["undo"]


async def test_an_execution_that_ended_too_many_processes_is_given_up(runner: Runner) -> None:
    execution = replace(await left(runner, plan=PLAN), runs=MAX_RUNS)
    outcome = await runner.run(execution)
    assert outcome.status == "errored"
    assert "perhaps applied: lamp light: on -> off" in outcome.message
    assert Lamp.steps == []


async def test_a_dry_run_does_not_apply_a_stored_plan(runner: Runner) -> None:
    dry = replace(runner, means=replace(runner.means, dry_run=True))
    outcome = await dry.run(await left(dry, plan=PLAN))
    assert outcome.status == "errored"
    assert Lamp.steps == []


async def test_an_entry_that_cannot_be_read_is_told_as_errored(runner: Runner) -> None:
    outcome = await runner.run(await left(runner, unreadable="KeyError('memo')"))
    assert "KeyError" in outcome.message
    assert Lamp.steps == []


async def test_targets_of_a_cut_off_plan_are_free_again_once_its_execution_ended(
    runner: Runner,
) -> None:
    execution = await left(runner)
    await runner.means.journal.admit(execution, PLAN, [], lambda history: None)
    await runner.reserve_targets()
    targets = runner.means.targets
    assert targets._reserved == {"lamp": execution.id}
    await runner.run(replace(execution, unreadable="of no use"))
    assert not targets._reserved
    assert not targets._locks
