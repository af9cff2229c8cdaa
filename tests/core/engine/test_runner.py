"""The runner: what an earlier process left, what Keptn gave up, and who waits for what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest
import pytest_asyncio

from keptn_remedy import Action, Change, Context, Outcome, Plan, PlannedAction, events
from keptn_remedy.engine.execution import MAX_RUNS
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.runner import Runner
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.events import Replies
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.guardrails.matching import Rules
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.http_client import lent_session
from keptn_remedy.journal import Execution, Question
from keptn_remedy.journal.effects import Effects
from keptn_remedy.journal.executions import Executions
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import ImpatientClock, registry_of, triggered
from tests.clocks import StandingClock
from tests.core.journals import allow, effect
from tests.providing import Gate
from tests.waiting import until

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
        means = Runtime(
            journal=journal,
            http=http,
            metrics=Metrics("test"),
            clock=clock,
            mask=Mask(),
            targets=TargetLocks(),
            guard=Guard.built_in(journal, clock, ReplicaSettings()),
            rests=WaitingRoom(),
            overdue=Overdue(),
        )
        yield Runner(means, registry_of(Lamp), Replies("keptn-remedy"), tell=lambda unsent: None)
    await journal.close()


async def left(runner: Runner, **changes: Any) -> Execution:
    """An execution that an earlier process began."""
    trigger = events.stored_trigger(orjson.dumps(triggered("lamp")))
    execution = await runner.means.journal.accept(trigger, "lamp")
    assert execution
    return replace(execution, runs=1, **changes)


def under(runner: Runner, settings: str) -> Runner:
    """The same, with a policy of one rule."""
    rules = Rules(Policy.load(f"version: 1\nrules: [{{name: the rule, {settings}}}]"))
    guard = replace(runner.means.guard, rules=lambda: rules)
    return replace(runner, means=replace(runner.means, guard=guard))


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


async def test_a_refusal_after_a_restart_stands_when_its_undo_is_cut_off(runner: Runner) -> None:
    gate, journal = Gate(), runner.means.journal

    class SlowLamp(Lamp):
        async def undo(self, context: Context, plan: Plan) -> None:
            await super().undo(context, plan)
            await gate.passage("undo")

    execution = await left(runner, plan=PLAN)
    await journal.admit(execution, PLAN, [], allow)
    denying = replace(under(runner, "decision: deny"), registry=registry_of(SlowLamp))
    cut_off = asyncio.create_task(denying.run(execution))
    await gate.until_entered(1)
    [as_a_kill_leaves_it] = await journal.planned()
    cut_off.cancel()
    await asyncio.wait([cut_off])
    outcome = await runner.run(as_a_kill_leaves_it)
    assert outcome.message.startswith("refused by guard-rail decision (the rule)")
    assert Lamp.steps == ["undo", "undo"]


async def test_who_is_woken_without_an_answer_goes_on_waiting_for_it(runner: Runner) -> None:
    journal, rests = runner.means.journal, runner.means.rests
    rested: list[bool] = []
    rests.on_rest = lambda: rested.append(True)
    now = runner.means.clock.now()
    question = Question(PLAN, "the rule", asked_at=now, expires_at=now + 900)
    execution = await left(runner, question=question)
    await journal.ask(execution, question)
    running = asyncio.create_task(runner.run(execution))
    await until(lambda: len(rested) == 1)
    rests.ring(execution.id)
    await until(lambda: len(rested) == 2 or running.done())
    assert not running.done()
    await journal.answer(execution.id, "approved", "ann", None)
    rests.ring(execution.id)
    assert (await running).result == "pass"


# What waits for a target or a turn


async def test_who_waits_for_a_turn_is_woken_by_the_end_of_another(runner: Runner) -> None:
    limited = under(runner, "at_once: 1")
    limited = replace(limited, means=replace(limited.means, clock=StandingClock()))
    first, second = await left(limited, plan=PLAN), await left(limited)
    await limited.means.journal.admit(first, PLAN, [effect(first, "lamp")], allow)
    waiting = asyncio.create_task(limited.run(second))
    await until(lambda: bool(limited.means.rests.tasks))
    await limited.run(first)
    await until(waiting.done)
    assert waiting.result().result == "pass"


async def test_who_waited_for_a_target_has_all_its_time_again(runner: Runner) -> None:
    clock, targets, seconds_left = runner.means.clock, runner.means.targets, list[float]()

    class TimedLamp(Lamp):
        async def plan(self, context: Context, value: Any) -> Plan:
            seconds_left.append(context.deadline - clock.now())
            return await super().plan(context, value)

    timed = replace(runner, registry=registry_of(TimedLamp))
    async with targets.hold(PLAN.targets, "another", targets.moment()):
        running = asyncio.create_task(timed.run(await left(timed)))
        await until(lambda: Lamp.steps == ["plan"])
        await clock.sleep(2 * Lamp.deadline)
    assert (await running).result == "pass"
    assert len(seconds_left) == 2
    assert min(seconds_left) > 0


async def test_a_new_plan_waits_for_the_targets_that_it_touches_as_well(runner: Runner) -> None:
    targets = runner.means.targets
    wide = Plan((*PLAN.changes, Change("fan", "power", "on", "off")))

    class LampThenFan(Lamp):
        async def plan(self, context: Context, value: Any) -> Plan:
            narrow = await super().plan(context, value)
            return narrow if self.steps == ["plan"] else wide

    grown = replace(runner, registry=registry_of(LampThenFan))
    async with targets.hold(frozenset({"fan"}), "a third", targets.moment()):
        async with targets.hold(PLAN.targets, "another", targets.moment()):
            running = asyncio.create_task(grown.run(await left(grown)))
            await until(lambda: Lamp.steps == ["plan"])
        await until(lambda: len(Lamp.steps) >= 3)
        Lamp.steps.append("the fan is free")
    await running
    assert Lamp.steps == [*["plan"] * 3, "the fan is free", "plan", "apply", "verify"]


# What Keptn gave up


async def test_what_keptn_gave_up_is_not_announced(runner: Runner) -> None:
    told: list[str | None] = []
    telling = replace(runner, tell=lambda unsent: told.append(unsent.report.execution))
    just_now, earlier, other = await left(runner), await left(runner), await left(runner)
    telling.give_up(just_now.id, "gone")
    for execution in (just_now, replace(earlier, aborted="gone"), other):
        await telling.announce(execution)
    assert told == [other.id]


async def test_what_was_given_up_and_forgotten_is_carried_out_when_it_is_asked_for_again(
    runner: Runner,
) -> None:
    journal, given_up = runner.means.journal, await left(runner)
    runner.give_up(given_up.id, "gone")
    await runner.run(given_up)
    assert await journal.prune(runner.means.clock.now() + 1, 10) == 1
    again = await journal.accept(given_up.trigger, "lamp")
    assert again
    assert (await runner.run(again)).result == "pass"


class Ping(Action):
    """Counts how often it was run, with a number as its value."""

    name = "ping"
    Value = int
    runs: ClassVar[list[int]] = []

    async def run(self, context: Context, value: int) -> Outcome:
        self.runs.append(value)
        return Outcome.passed("pong")


@pytest.fixture
def pings(runner: Runner) -> Runner:
    """Pings are limited to one an hour for a service."""
    Ping.runs.clear()
    limited = under(runner, "at_most: [{executions: 1, within: 1h, per: [target]}]")
    return replace(limited, registry=registry_of(Ping))


async def pinged(runner: Runner, value: Any, **changes: Any) -> Outcome:
    trigger = events.stored_trigger(orjson.dumps(triggered("ping", value)))
    execution = await runner.means.journal.accept(trigger, "ping")
    assert execution
    return await runner.run(replace(execution, **changes))


async def test_a_plain_action_is_admitted_by_the_change_that_begins_it(
    pings: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Executions, "begin")
    monkeypatch.delattr(Effects, "admit")
    assert (await pinged(pings, 1)).result == "pass"
    assert Ping.runs == [1]


async def test_who_is_not_admitted_by_beginning_is_told_why(pings: Runner) -> None:
    await pinged(pings, 1)
    refused = await pinged(pings, 2)
    assert refused.details["rail"] == "at-most"
    assert refused.message.startswith("refused by guard-rail at-most (the rule): 1 execution")
    assert Ping.runs == [1]


async def test_a_value_that_is_no_good_is_not_counted(pings: Runner) -> None:
    assert "value" in (await pinged(pings, "three")).message
    assert (await pinged(pings, 3)).result == "pass"


async def test_what_an_earlier_process_began_is_asked_for_itself(pings: Runner) -> None:
    assert (await pinged(pings, 1, runs=1)).result == "pass"
    assert (await pinged(pings, 2, runs=1)).details["rail"] == "at-most"


async def test_nothing_is_counted_for_a_dry_run(pings: Runner) -> None:
    rehearsing = replace(pings, means=replace(pings.means, dry_run=True))
    assert (await pinged(rehearsing, 1)).message == "dry run: ping would have been run"
    assert (await pinged(pings, 1)).result == "pass"


async def test_a_value_that_comes_from_elsewhere_is_looked_at_before_anything_is_counted(
    pings: Runner,
) -> None:
    async def elsewhere(trigger: events.ActionTriggered) -> Any:
        return "three"

    asking = replace(pings, means=replace(pings.means, value_of=elsewhere))
    assert "value" in (await pinged(asking, 1)).message
    assert (await pinged(pings, 3)).result == "pass"
