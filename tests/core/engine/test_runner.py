"""The runner: what an earlier process left, what Keptn aborted, and who waits for what."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest
import pytest_asyncio

from keptn_remedy import (
    Action,
    Change,
    Context,
    Outcome,
    Plan,
    PlannedAction,
    TemporaryError,
    events,
)
from keptn_remedy.engine.execution import MAX_RUNS
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.reporting import Reporting
from keptn_remedy.engine.runner import SUSPECT_RUNS, ExecutionFactory, Runner
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.slots import Slots
from keptn_remedy.engine.still_wanted import StillWanted
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.value import Values
from keptn_remedy.engine.waiting_room import Rest, WaitingRoom
from keptn_remedy.events import Replies, stored_trigger
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.guardrails.guard import Guard, targets_of
from keptn_remedy.guardrails.matching import Fixed, Rules
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.http_client import lent_session
from keptn_remedy.journal import Execution, NotOwner, Question, Unsent
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


class Machine:
    """A runner with its parts at hand; `with_` is another one with some parts exchanged."""

    def __init__(
        self, factory: ExecutionFactory, send: Callable[[Unsent], None] = lambda unsent: None
    ) -> None:
        self.factory = factory
        self.journal, self.clock = factory.runtime.journal, factory.runtime.clock
        self.locks, self.waiting_room = factory.locks, factory.waiting_room
        reporting = Reporting(Replies("keptn-remedy"), self.clock, send)
        self.runner = Runner(factory, reporting)
        self.run = self.runner.run

    def with_(self, **parts: Any) -> Machine:
        return Machine(replace(self.factory, **parts))

    def under(self, settings: str) -> Machine:
        """The same, with a policy of one rule."""
        rules = Rules(Policy.load(f"version: 1\nrules: [{{name: the rule, {settings}}}]"))
        return self.with_(guard=replace(self.factory.guard, policy=Fixed(rules)))

    def on(self, **changes: Any) -> Machine:
        """The same, with another runtime."""
        runtime = replace(self.factory.runtime, **changes)
        values = replace(self.factory.values, runtime=runtime)
        return self.with_(runtime=runtime, values=values)

    async def left(self, **changes: Any) -> Execution:
        """An execution that an earlier process began."""
        trigger = events.stored_trigger(orjson.dumps(triggered("lamp")))
        execution = await self.journal.accept(trigger, "lamp")
        assert execution
        return replace(execution, runs=1, **changes)


@pytest_asyncio.fixture
async def machine(tmp_path: Path) -> AsyncIterator[Machine]:
    Lamp.steps.clear()
    journal = SqliteJournal.open(tmp_path / "journal.db")
    clock = ImpatientClock()
    async with lent_session() as http:
        runtime = Runtime(
            journal=journal, http=http, metrics=Metrics("test"), clock=clock, mask=Mask()
        )
        waiting_room = WaitingRoom(Slots(9), clock)
        yield Machine(
            ExecutionFactory(
                runtime=runtime,
                registry=registry_of(Lamp),
                guard=Guard.built_in(journal, clock, ReplicaSettings().rules(None)),
                values=Values(runtime),
                waiting_room=waiting_room,
                still_wanted=StillWanted(runtime, waiting_room),
                locks=TargetLocks(),
                overdue=Overdue(),
            )
        )
    await journal.close()


async def test_a_stored_plan_is_applied_again_without_planning(machine: Machine) -> None:
    outcome = await machine.run(await machine.left(plan=PLAN))
    assert (outcome.result, Lamp.steps) == ("pass", ["apply", "verify"])


async def test_an_undo_that_was_cut_off_is_taken_up_and_its_failure_told(machine: Machine) -> None:
    failure = Outcome.failed("overridden")
    outcome = await machine.run(await machine.left(plan=PLAN, failure=failure))
    assert outcome == Outcome.failed("overridden; undone")
    assert Lamp.steps == ["undo"]


async def test_the_numbers_of_a_failure_that_an_earlier_process_kept_are_told_as_text(
    machine: Machine,
) -> None:
    failure = Outcome.failed("refused", limit=1)
    outcome = await machine.run(await machine.left(plan=PLAN, failure=failure))
    assert outcome.details["limit"] == "1"


async def test_an_execution_during_which_too_many_processes_died_is_not_tried_again(
    machine: Machine,
) -> None:
    execution = replace(await machine.left(plan=PLAN), runs=MAX_RUNS)
    outcome = await machine.run(execution)
    assert outcome.status == "errored"
    assert "perhaps applied: lamp light: on -> off" in outcome.message
    assert Lamp.steps == []


async def test_a_suspect_that_rested_before_it_began_begins_once_it_goes_on(
    machine: Machine,
) -> None:
    room = WaitingRoom(Slots(9), machine.clock, most=0)
    crowded = machine.with_(waiting_room=room)
    crowded.runner.seek_culprit()
    execution = replace(await machine.left(), runs=SUSPECT_RUNS)
    with pytest.raises(Rest):
        await crowded.run(execution)
    room.wake(execution.id)
    (rested,) = room.due()
    await machine.run(rested.again(execution))
    assert (record := await machine.journal.record(execution.id))
    assert [report.kind for report in record.undelivered] == ["started", "finished"]


async def test_a_dry_run_does_not_apply_a_stored_plan(machine: Machine) -> None:
    outcome = await machine.on(dry_run=True).run(await machine.left(plan=PLAN))
    assert outcome.status == "errored"
    assert Lamp.steps == []


async def test_an_entry_that_cannot_be_read_is_reported_as_errored(machine: Machine) -> None:
    outcome = await machine.run(await machine.left(unreadable="KeyError('memo')"))
    assert "KeyError" in outcome.message
    assert Lamp.steps == []


async def test_targets_of_a_cut_off_plan_are_free_again_once_its_execution_ended(
    machine: Machine,
) -> None:
    execution = await machine.left()
    await machine.journal.admit(execution, PLAN, [], lambda history: None)
    await machine.runner.reserve_targets()
    targets = machine.locks
    assert targets._reserved == {"lamp": execution.id}
    await machine.run(replace(execution, unreadable="of no use"))
    assert not targets._reserved
    assert not targets._locks


async def test_a_refusal_after_a_restart_stands_when_its_undo_is_cut_off(machine: Machine) -> None:
    gate, journal = Gate(), machine.journal

    class SlowLamp(Lamp):
        async def undo(self, context: Context, plan: Plan) -> None:
            await super().undo(context, plan)
            await gate.passage("undo")

    execution = await machine.left(plan=PLAN)
    await journal.admit(execution, PLAN, [], allow)
    denying = machine.under("decision: deny").with_(registry=registry_of(SlowLamp))
    cut_off = asyncio.create_task(denying.run(execution))
    await gate.until_entered(1)
    [as_a_kill_leaves_it] = await journal.planned()
    cut_off.cancel()
    await asyncio.wait([cut_off])
    outcome = await machine.run(as_a_kill_leaves_it)
    assert outcome.message.startswith("refused by guard-rail decision (the rule)")
    assert Lamp.steps == ["undo", "undo"]


async def test_a_verification_whose_outcome_cannot_be_used_has_failed(machine: Machine) -> None:
    class Untold:
        def __str__(self) -> str:
            raise ValueError("no words")

        __repr__ = __str__

    class MuteLamp(Lamp):
        async def verify(self, context: Context, plan: Plan) -> Outcome:
            return Outcome.passed("dark", seen=Untold())

    outcome = await machine.with_(registry=registry_of(MuteLamp)).run(await machine.left())
    assert outcome.status == "errored"
    assert outcome.message.endswith("; undone")
    assert Lamp.steps == ["plan", "apply", "undo"]


async def test_who_is_woken_without_an_answer_goes_on_waiting_for_it(machine: Machine) -> None:
    journal, looks = machine.journal, list[str]()

    class CountingRoom(WaitingRoom):
        async def until_answered(self, execution_id: str, seconds: float) -> None:
            looks.append(execution_id)
            await super().until_answered(execution_id, seconds)

    room = CountingRoom(Slots(9), machine.clock)
    now = machine.clock.now()
    question = Question(PLAN, "the rule", asked_at=now, expires_at=now + 900)
    execution = await machine.left(question=question)
    await journal.ask(execution, question)
    running = asyncio.create_task(machine.with_(waiting_room=room).run(execution))
    await until(lambda: len(looks) == 1)
    room.answered(execution.id)
    await until(lambda: len(looks) == 2 or running.done())
    assert not running.done()
    await journal.answer(execution.id, "approved", "ann", None)
    room.answered(execution.id)
    assert (await running).result == "pass"


# What waits for a target or a turn


async def test_who_waits_for_a_turn_is_woken_by_the_end_of_another(machine: Machine) -> None:
    clock = StandingClock()
    limited = (
        machine.under("at_once: 1").on(clock=clock).with_(waiting_room=WaitingRoom(Slots(9), clock))
    )
    first, second = await machine.left(plan=PLAN), await machine.left()
    await machine.journal.admit(first, PLAN, [effect(first, "lamp")], allow)
    waiting = asyncio.create_task(limited.run(second))
    await until(lambda: len(limited.waiting_room) == 1)
    await limited.run(first)
    await until(waiting.done)
    assert waiting.result().result == "pass"


async def test_a_suspect_that_waits_for_a_target_lets_its_holder_go_on(machine: Machine) -> None:
    holder, waiting = await machine.left(plan=PLAN), await machine.left()
    await machine.journal.admit(holder, PLAN, [effect(holder, "lamp")], allow)
    machine.runner.seek_culprit()
    await machine.runner.reserve_targets()
    suspects = [replace(each, runs=SUSPECT_RUNS) for each in (waiting, holder)]
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        running = [group.create_task(machine.run(each)) for each in suspects]
    assert [each.result().result for each in running] == ["pass", "pass"]


async def test_restarts_say_nothing_against_who_waits_for_a_target(machine: Machine) -> None:
    journal, targets = machine.journal, machine.locks
    execution = await machine.left()
    for _ in range(SUSPECT_RUNS):
        await journal.begin(execution, None)

    async def runs() -> int:
        stored = await journal.read_again(execution.handle)
        assert stored
        return stored.runs

    async def is_one_run() -> bool:
        return await runs() == 1

    assert await runs() == SUSPECT_RUNS
    async with targets.hold(PLAN.targets, "another", targets.moment):
        running = asyncio.create_task(machine.run(execution))
        await until(is_one_run)
        assert not running.done()
    assert (await running).result == "pass"


async def test_who_waited_for_a_target_has_all_its_time_again(machine: Machine) -> None:
    clock, targets, seconds_left = machine.clock, machine.locks, list[float]()

    class TimedLamp(Lamp):
        async def plan(self, context: Context, value: Any) -> Plan:
            seconds_left.append(context.deadline - clock.now())
            return await super().plan(context, value)

    timed = machine.with_(registry=registry_of(TimedLamp))
    async with targets.hold(PLAN.targets, "another", targets.moment):
        running = asyncio.create_task(timed.run(await machine.left()))
        await until(lambda: Lamp.steps == ["plan"])
        await clock.sleep(2 * Lamp.deadline)
    assert (await running).result == "pass"
    assert len(seconds_left) == 2
    assert min(seconds_left) > 0


async def test_a_new_plan_waits_for_the_targets_that_it_touches_as_well(machine: Machine) -> None:
    targets = machine.locks
    wide = Plan((*PLAN.changes, Change("fan", "power", "on", "off")))

    class LampThenFan(Lamp):
        async def plan(self, context: Context, value: Any) -> Plan:
            narrow = await super().plan(context, value)
            return narrow if self.steps == ["plan"] else wide

    grown = machine.with_(registry=registry_of(LampThenFan))
    async with targets.hold(frozenset({"fan"}), "a third", targets.moment):
        async with targets.hold(PLAN.targets, "another", targets.moment):
            running = asyncio.create_task(grown.run(await machine.left()))
            await until(lambda: Lamp.steps == ["plan"])
        await until(lambda: len(Lamp.steps) >= 3)
        Lamp.steps.append("the fan is free")
    await running
    assert Lamp.steps == [*["plan"] * 3, "the fan is free", "plan", "apply", "verify"]


# What Keptn aborted


async def test_what_has_begun_meanwhile_is_not_announced(machine: Machine) -> None:
    waiting, begun = await machine.left(), await machine.left()
    await machine.journal.begin(begun, Replies("us").started(begun.trigger, machine.clock.utc()))
    said = [await machine.runner.announce(each) for each in (waiting, begun, waiting)]
    assert said == [True, False, False]


async def test_an_aborted_execution_is_not_announced(machine: Machine) -> None:
    told: list[str | None] = []
    telling = Machine(machine.factory, lambda unsent: told.append(unsent.report.execution))
    just_now, earlier, other = await machine.left(), await machine.left(), await machine.left()
    telling.runner.abort(just_now.id, "gone")
    for execution in (just_now, replace(earlier, aborted="gone"), other):
        await telling.runner.announce(execution)
    assert told == [other.id]


async def test_what_was_aborted_and_pruned_is_carried_out_when_it_is_triggered_again(
    machine: Machine,
) -> None:
    journal, aborted = machine.journal, await machine.left()
    trigger = stored_trigger(aborted.trigger.body)
    machine.runner.abort(aborted.id, "gone")
    await machine.run(aborted)
    await journal.accept(replace(trigger, id="newest"), "lamp")
    assert await journal.prune(machine.clock.now() + 1, 10) == 1
    again = await journal.accept(trigger, "lamp")
    assert again
    assert (await machine.run(again)).result == "pass"


async def test_who_approved_an_earlier_plan_is_not_named_for_one_that_nobody_approved(
    machine: Machine,
) -> None:
    now = machine.clock.now()
    earlier = Plan((Change("fan", "power", "on", "off"),))
    question = Question(
        earlier, "the rule", asked_at=now, expires_at=now + 900, verdict="approved", by="ann"
    )
    clock = StandingClock()
    asking = machine.under("mode: approve").on(clock=clock)
    asking = asking.with_(waiting_room=WaitingRoom(Slots(9), clock))
    execution = await machine.left(question=question)
    running = asyncio.create_task(asking.run(execution))
    await until(lambda: len(asking.waiting_room) == 1)
    asking.runner.abort(execution.id, "gone")
    assert "approved_by" not in (await running).details


async def test_nothing_is_applied_after_an_abort_that_the_plan_took_no_notice_of(
    machine: Machine,
) -> None:
    gate = Gate()

    class DeafLamp(Lamp):
        async def plan(self, context: Context, value: Any) -> Plan:
            plan = await super().plan(context, value)
            with suppress(asyncio.CancelledError):
                await gate.passage("plan")
            return plan

    deaf = machine.with_(registry=registry_of(DeafLamp))
    execution = await machine.left()
    running = asyncio.create_task(deaf.run(execution))
    await gate.until_entered(1)
    deaf.runner.abort(execution.id, "gone")
    assert "gone" in (await running).message
    assert Lamp.steps == ["plan"]


@pytest.mark.parametrize("is_wanted", [False, True])
async def test_an_action_may_want_to_be_undone_whenever_it_is_aborted(
    machine: Machine, is_wanted: bool
) -> None:
    class Stopping(Lamp):
        undo_when_aborted = is_wanted

    stopping = machine.with_(registry=registry_of(Stopping))
    outcome = await stopping.run(replace(await machine.left(plan=PLAN), aborted="gone"))
    assert Lamp.steps == (["undo"] if is_wanted else [])
    left = f"perhaps applied, and left: {PLAN}"
    assert outcome.message.endswith("undone" if is_wanted else left)


async def aborted_as_it_ends(machine: Machine, verdict: Outcome) -> list[str]:
    """What an execution reports whose abort is noted while it ends, before the runner is told."""

    class LateLamp(Lamp):
        async def verify(self, context: Context, plan: Plan) -> Outcome:
            assert await machine.journal.note_abort(context.trigger.id, "gone")
            return verdict

    told: list[str] = []
    factory = machine.with_(registry=registry_of(LateLamp)).factory
    execution = await machine.left()
    await Machine(factory, lambda unsent: told.append(unsent.report.kind)).run(execution)
    record = await machine.journal.record(execution.id)
    assert record
    assert record.status == "aborted"
    assert record.message
    assert record.message.startswith("gone; ")
    assert await machine.journal.open_tasks(2**40) == []
    return told


async def test_who_is_aborted_in_the_moment_of_its_end_is_not_answered(machine: Machine) -> None:
    passed = Outcome.passed("dark")
    assert await aborted_as_it_ends(machine, passed) == ["started"]
    assert Lamp.steps == ["plan", "apply"]
    assert await aborted_as_it_ends(machine.under("undo: {on_abort: true}"), passed) == ["started"]
    assert Lamp.steps[2:] == ["plan", "apply", "undo"]
    # A failure was undone before: not a second time.
    assert await aborted_as_it_ends(machine, Outcome.failed("bright")) == ["started"]
    assert Lamp.steps[5:] == ["plan", "apply", "undo"]


async def test_who_is_aborted_in_the_moment_of_its_begin_is_not_announced(machine: Machine) -> None:
    told: list[str] = []
    telling = Machine(machine.factory, lambda unsent: told.append(unsent.report.kind))
    execution = await machine.left()
    assert await machine.journal.note_abort(execution.id, "gone")
    assert "gone" in (await telling.run(execution)).message
    assert told == []


class Ping(Action):
    """Counts how often it was run, with a number as its value."""

    name = "ping"
    Value = int
    runs: ClassVar[list[int]] = []

    async def run(self, context: Context, value: int) -> Outcome:
        self.runs.append(value)
        return Outcome.passed("pong")


@pytest.fixture
def pings(machine: Machine) -> Machine:
    """Pings are limited to one an hour for a service."""
    Ping.runs.clear()
    limited = machine.under("at_most: [{executions: 1, within: 1h, per: [target]}]")
    return limited.with_(registry=registry_of(Ping))


async def pinged(machine: Machine, value: Any, **changes: Any) -> Outcome:
    trigger = events.stored_trigger(orjson.dumps(triggered("ping", value)))
    execution = await machine.journal.accept(trigger, "ping")
    assert execution
    return await machine.run(replace(execution, **changes))


async def test_a_plain_action_that_is_not_admitted_is_not_run(pings: Machine) -> None:
    await pinged(pings, 1)
    refused = await pinged(pings, 2)
    assert refused.details["rail"] == "at-most"
    assert refused.message.startswith("refused by guard-rail at-most (the rule): 1 execution")
    assert Ping.runs == [1]


async def test_a_value_that_is_no_good_is_not_counted(pings: Machine) -> None:
    assert "value" in (await pinged(pings, "three")).message
    assert (await pinged(pings, 3)).result == "pass"


async def test_what_an_earlier_process_began_is_asked_for_itself(pings: Machine) -> None:
    assert (await pinged(pings, 1, runs=1)).result == "pass"
    assert (await pinged(pings, 2, runs=1)).details["rail"] == "at-most"


async def test_nothing_is_counted_for_a_dry_run(pings: Machine) -> None:
    rehearsing = pings.on(dry_run=True)
    assert (await pinged(rehearsing, 1)).message == "dry run: ping would have been run"
    assert (await pinged(pings, 1)).result == "pass"


async def test_a_value_that_comes_from_elsewhere_is_looked_at_before_anything_is_counted(
    pings: Machine,
) -> None:
    async def elsewhere(trigger: events.ActionTriggered) -> Any:
        return "three"

    asking = pings.with_(values=Values(pings.factory.runtime, elsewhere))
    assert "value" in (await pinged(asking, 1)).message
    assert (await pinged(pings, 3)).result == "pass"


async def test_why_an_attempt_failed_is_kept(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def apply(lamp: Lamp, context: Context, plan: Plan) -> None:
        if context.attempt == 1:
            raise TemporaryError("503 for the token s3cret-of-the-lamp " + "x" * 1000)

    monkeypatch.setattr(Lamp, "apply", apply)
    execution = await machine.left()
    await machine.on(mask=Mask(["s3cret-of-the-lamp"])).run(execution)
    record = await machine.journal.record(execution.id)
    assert record
    assert record.result == "pass"
    [failed] = record.failed_attempts
    assert (failed.phase, failed.number, len(failed.cause)) == ("apply", 1, 500)
    assert failed.cause.startswith("503 for the token ********** xxx")


async def test_what_went_on_after_it_was_cut_off_is_not_left(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate()

    class SlowLamp(Lamp):
        async def apply(self, context: Context, plan: Plan) -> None:
            await gate.passage("apply")

    noted: list[Collection[int]] = []

    async def note_left(handles: Collection[int]) -> None:
        noted.append(handles)

    monkeypatch.setattr(machine.journal, "note_left", note_left)
    execution = await machine.left()
    slow = machine.with_(registry=registry_of(SlowLamp))
    running = asyncio.create_task(slow.run(execution))
    await gate.until_entered(1)
    await cut_off(running)
    await slow.runner.leave()
    gate.open()
    await slow.run(execution)
    await slow.runner.leave()
    assert noted == [[execution.handle], []]


# What must not be repeated


class Knock(Action):
    """Must not be repeated. It stops at the gate while that is shut."""

    name = "knock"
    idempotent = False
    gate: ClassVar[Gate]
    runs: ClassVar[list[str]] = []

    async def run(self, context: Context, value: Any) -> Outcome:
        self.runs.append(context.trigger.id)
        await self.gate.passage(context.trigger.id)
        return Outcome.passed("knocked")


@pytest.fixture
def knocks(machine: Machine) -> Machine:
    Knock.runs.clear()
    Knock.gate = Gate()
    return machine.with_(registry=registry_of(Knock))


async def asked(machine: Machine, trigger: events.ActionTriggered) -> Execution:
    """An execution that waits for approval, as the next process finds it."""
    journal, now = machine.journal, machine.clock.now()
    execution = await journal.accept(trigger, "knock")
    assert execution
    await journal.begin(execution, None)
    await journal.ask(execution, Question(None, "the rule", now, now + 900))
    return await taken_up(machine, execution)


async def approve(machine: Machine, execution: Execution) -> None:
    assert await machine.journal.answer(execution.id, "approved", "ann", None) is None
    machine.waiting_room.answered(execution.id)


async def taken_up(machine: Machine, execution: Execution) -> Execution:
    """The same as the next process finds it."""
    machine.journal.release(execution)
    (found,) = (await machine.journal.claim(9)).items
    return found


def requested() -> events.ActionTriggered:
    data = triggered("knock", None)["data"]
    return events.requested_trigger(data, "an agent", "2026-01-01T00:00:00Z")


async def cut_off(running: asyncio.Task[Outcome]) -> None:
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_what_was_approved_and_waits_for_its_service_is_taken_up_by_each_next_process(
    knocks: Machine,
) -> None:
    execution = await asked(knocks, requested())
    await approve(knocks, execution)
    execution = await taken_up(knocks, execution)
    (service,) = targets_of(execution, None)
    Knock.gate.open()
    for _ in range(2):
        async with knocks.locks.hold(frozenset({service}), "another", knocks.locks.moment):
            running = asyncio.create_task(knocks.run(execution))
            await until(lambda: any(each.waits_for for each in knocks.runner.under_way()))
            await cut_off(running)
            assert running.cancelled()
        execution = await taken_up(knocks, execution)
        assert execution.runs
    assert Knock.runs == []
    assert (await knocks.run(execution)).result == "pass"
    assert Knock.runs == [execution.id]


@pytest.mark.parametrize("is_request", [True, False])
@pytest.mark.parametrize("is_answered_while_it_waits", [True, False])
async def test_what_was_approved_and_ran_is_not_repeated_whatever_became_of_the_policy(
    knocks: Machine, is_request: bool, is_answered_while_it_waits: bool
) -> None:
    trigger = events.stored_trigger(orjson.dumps(triggered("knock", None)))
    execution = await asked(knocks, requested() if is_request else trigger)
    if not is_answered_while_it_waits:
        await approve(knocks, execution)
        execution = await taken_up(knocks, execution)
    running = asyncio.create_task(knocks.run(execution))
    if is_answered_while_it_waits:
        await until(lambda: len(knocks.waiting_room) == 1)
        await approve(knocks, execution)
    await Knock.gate.until_entered(1)
    found = await taken_up(knocks, execution)  # as after a kill
    Knock.gate.open()
    assert "not safe to repeat" in (await knocks.run(found)).message
    await running
    assert Knock.runs == [execution.id]


async def test_what_waits_in_its_lane_is_run_by_the_next_process_though_it_must_not_be_repeated(
    knocks: Machine,
) -> None:
    Knock.gate.open()
    trigger = events.stored_trigger(orjson.dumps(triggered("knock", None)))
    execution = await knocks.journal.accept(trigger, "knock")
    assert execution
    execution = await taken_up(knocks, execution)
    assert (await knocks.run(execution)).result == "pass"
    assert Knock.runs == [execution.id]


@pytest.mark.parametrize("is_killed", [True, False])
async def test_what_has_begun_and_looks_for_its_value_is_not_run_by_the_next_process(
    knocks: Machine, is_killed: bool
) -> None:
    asked_for = asyncio.Event()

    async def never(trigger: events.ActionTriggered) -> Any:
        asked_for.set()
        await asyncio.Event().wait()

    looking = knocks.with_(values=Values(knocks.factory.runtime, never))
    trigger = events.stored_trigger(orjson.dumps(triggered("knock", None)))
    execution = await knocks.journal.accept(trigger, "knock")
    assert execution
    running = asyncio.create_task(looking.run(execution))
    await asked_for.wait()
    if is_killed:  # the journal can't tell whether it had acted
        found = await taken_up(knocks, execution)
        outcome = await knocks.run(found)
        running.cancel()
        await asyncio.wait([running])
    else:
        running.cancel()
        outcome = await running
    assert "not safe to repeat" in outcome.message
    assert Knock.runs == []


async def test_what_ignores_its_deadline_is_left_to_the_replica_that_has_it_by_now(
    knocks: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*given: Any, **named: Any) -> Any:
        raise NotOwner

    trigger = events.stored_trigger(orjson.dumps(triggered("knock", None)))
    execution = await knocks.journal.accept(trigger, "knock")
    assert execution
    running = asyncio.create_task(knocks.run(execution))
    await Knock.gate.until_entered(1)
    monkeypatch.setattr(SqliteJournal, "finish", refuse)
    (watched,) = knocks.runner.under_way()
    await watched.abandon("it still runs")  # by the watchdog, a loop that must not end
    with pytest.raises(NotOwner):
        await running
    assert not list(knocks.runner.under_way())
