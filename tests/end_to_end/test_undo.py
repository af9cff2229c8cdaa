"""Undoing finished executions: by order, when the problem closes, or when their time is up."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from keptn_remedy import Change, Context, Denied, Outcome, Plan, PlannedAction
from keptn_remedy.clock import Clock
from keptn_remedy.journal import Undo
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from tests.providing import Gate, event_url, get_json, ops_url, provider
from tests.waiting import until

ENDED = ("done", "refused", "failed")
ON_CLOSED = "version: 1\nrules: [{name: passing, undo: {on_closed: true}}]\n"
FOR_AN_HOUR = "version: 1\nrules: [{name: passing, undo: {after: 1h}}]\n"


class ShiftedClock(Clock):
    """Real time, moved by hand."""

    shift = 0.0

    def now(self) -> float:
        return super().now() + self.shift


class Knob(PlannedAction):
    """Turns a knob to a number, by compare-and-set in both directions."""

    name = "knob"
    Value = int
    at: ClassVar[int] = 0
    verdict: ClassVar[Outcome | None] = None
    gate: ClassVar[Gate | None] = None
    pauses: ClassVar[Path | None] = None
    undos: ClassVar[list[str]] = []

    async def plan(self, context: Context, value: int) -> Plan:
        if value == self.at:
            return Plan(())
        return Plan((Change("knob", "number", self.at, value),))

    async def apply(self, context: Context, plan: Plan) -> None:
        for change in plan.changes:
            Knob.at = change.after
        if self.pauses:
            self.pauses.write_text("fire drill")

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return self.verdict or Outcome.passed(f"at {self.at}")

    async def undo(self, context: Context, plan: Plan) -> None:
        self.undos.append(context.trigger.id)
        if self.gate:
            await self.gate.passage(context.trigger.id)
        change = plan.changes[0]
        if self.at == change.before:
            return
        if self.at != change.after:
            raise Denied(f"the knob is at {self.at}, not at {change.after}: left alone")
        Knob.at = change.before


@pytest.fixture(autouse=True)
def zero() -> None:
    Knob.at = 0
    Knob.verdict = None
    Knob.gate = None
    Knob.pauses = None
    Knob.undos = []


@asynccontextmanager
async def serving(
    keptn: FakeKeptn, folder: Path, policy: str | None = None, **others: Any
) -> AsyncIterator[Service]:
    if policy:
        others["policy"] = folder / "policy.yaml"
        others["policy"].write_text(policy)
    async with provider(folder / "journal.db", keptn, Knob, **others) as service:
        yield service


async def turned(keptn: FakeKeptn, service: Service, to: int, **fields: Any) -> str:
    """The id of an execution that has turned the knob."""
    event = triggered("knob", to) | fields
    await keptn.deliver(event, to=event_url(service))
    await keptn.task_finished(event["id"])
    return str(event["id"])


async def ended(service: Service, execution: str) -> Undo:
    found: list[Undo] = []

    async def is_over() -> bool:
        undo = await service.journal.undo_of(execution)
        if undo and undo.state in ENDED:
            found.append(undo)
        return bool(found)

    await until(is_over)
    return found[0]


async def ordered(service: Service, execution: str) -> Undo:
    assert await service.journal.want_undo(execution, "order", "ada", "too loud") is None
    return await ended(service, execution)


async def test_an_order_puts_back_what_was_there(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await turned(keptn, service, 5)
        undo = await ordered(service, execution)
        assert (undo.state, undo.by, undo.reason) == ("done", "ada", "too loud")
        assert undo.message == "undone: knob number: 5 -> 0"
        assert Knob.at == 0
        told = await get_json(ops_url(service, f"/api/executions/{execution}"))
        assert told["undo"]["state"] == "done"
        way_back = {"target": "knob", "field": "number", "before": 5, "after": 0}
        assert told["undo"]["plan"] == [way_back]
        # Keptn was answered long ago, and is told nothing more.
        assert len(keptn.events_of(execution)) == 2


async def test_what_someone_changed_since_is_left_alone(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await turned(keptn, service, 5)
        Knob.at = 7
        undo = await ordered(service, execution)
        assert (undo.state, undo.message) == (
            "refused",
            "the knob is at 7, not at 5: left alone",
        )
        assert Knob.at == 7


async def test_a_later_execution_is_undone_first(tmp_path: Path) -> None:
    """Although the knob is where the first one had left it."""
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        first = await turned(keptn, service, 5)
        Knob.at = 0
        second = await turned(keptn, service, 5)
        undo = await ordered(service, first)
        assert undo.state == "refused"
        assert undo.message == f"execution {second} acted on it since; undo that one first"
        assert (await ordered(service, second)).state == "done"
        assert (await ordered(service, first)).state == "done"
        assert Knob.at == 0


async def test_what_is_undone_is_not_undone_again(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await turned(keptn, service, 5)
        await ordered(service, execution)
        refusal = await service.journal.want_undo(execution, "order", "ada")
        assert refusal == "it is undone already"


async def test_nothing_changed_is_nothing_to_undo(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await turned(keptn, service, 0)
        refusal = await service.journal.want_undo(execution, "order", "ada")
        assert refusal == "it changed nothing"


async def test_an_undo_that_a_pause_held_back_can_be_ordered_later(tmp_path: Path) -> None:
    Knob.verdict = Outcome.failed("too loud")
    pause = tmp_path / "pause"
    Knob.pauses = pause
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, pause_file=pause) as service:
        execution = await turned(keptn, service, 5)
        message = keptn.finished(execution)[0].data["message"]
        assert "too loud; NOT UNDONE: refused by guard-rail pause" in message
        assert Knob.at == 5
        pause.unlink()
        assert (await ordered(service, execution)).state == "done"
        assert Knob.at == 0


async def test_a_pause_refuses_an_order(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await turned(keptn, service, 5)
        await service.journal.pause("bob", "fire drill")
        await until(lambda: service.pauses.current() is not None)
        undo = await ordered(service, execution)
        assert undo.state == "refused"
        assert undo.message
        assert "paused by bob" in undo.message
        assert Knob.at == 5


@pytest.mark.parametrize("state", ["CLOSED", "RESOLVED"])
async def test_a_closed_problem_undoes_what_a_rule_names(tmp_path: Path, state: str) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, ON_CLOSED) as service:
        execution = await turned(keptn, service, 5)
        told = keptn.problem_closed(execution, state)
        answer = await keptn.deliver(told, to=event_url(service))
        assert answer.json == {"noted": "executions undone when their problem closes: 1"}
        undo = await ended(service, execution)
        assert (undo.state, undo.cause) == ("done", "problem closed")
        assert Knob.at == 0


async def test_an_open_problem_and_others_undo_nothing(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, ON_CLOSED) as service:
        execution = await turned(keptn, service, 5)
        still_open = keptn.problem_closed(execution, "OPEN")
        of_others = {**keptn.problem_closed(execution), "shkeptncontext": "another"}
        for event in (still_open, of_others):
            answer = await keptn.deliver(event, to=event_url(service))
            assert "ignored" in answer.json
        undo = await service.journal.undo_of(execution)
        assert undo
        assert undo.state == "armed"


async def test_without_a_rule_a_closed_problem_is_nobodys_business(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await turned(keptn, service, 5)
        answer = await keptn.deliver(keptn.problem_closed(execution), to=event_url(service))
        assert "ignored" in answer.json
        assert await service.journal.undo_of(execution) is None


async def test_what_failed_waits_for_no_undo(tmp_path: Path) -> None:
    Knob.verdict = Outcome.failed("too loud")
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, ON_CLOSED) as service:
        execution = await turned(keptn, service, 5)
        assert await service.journal.undo_of(execution) is None


async def test_several_rounds_are_undone_from_the_last_to_the_first(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, ON_CLOSED) as service:
        first = await turned(keptn, service, 2, shkeptncontext="rounds")
        second = await turned(keptn, service, 4, shkeptncontext="rounds")
        await keptn.deliver(keptn.problem_closed(first), to=event_url(service))
        assert (await ended(service, first)).state == "done"
        assert Knob.undos == [second, first]
        assert Knob.at == 0


async def test_an_undo_comes_when_the_time_is_up(tmp_path: Path) -> None:
    clock = ShiftedClock()
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, FOR_AN_HOUR, clock=clock) as service:
        execution = await turned(keptn, service, 5)
        clock.shift = 3599
        await service.journal.records()
        assert Knob.at == 5
        clock.shift = 3601
        undo = await ended(service, execution)
        assert (undo.state, undo.cause) == ("done", "time to live")
        assert Knob.at == 0


async def test_an_automatic_undo_waits_for_the_end_of_a_pause(tmp_path: Path) -> None:
    pause = tmp_path / "pause"
    async with (
        FakeKeptn() as keptn,
        serving(keptn, tmp_path, ON_CLOSED, pause_file=pause) as service,
    ):
        execution = await turned(keptn, service, 5)
        pause.write_text("fire drill")
        await keptn.deliver(keptn.problem_closed(execution), to=event_url(service))
        undo = await service.journal.undo_of(execution)
        assert undo
        assert undo.state == "wanted"
        pause.unlink()
        assert (await ended(service, execution)).state == "done"


async def test_the_next_process_carries_an_undo_out(tmp_path: Path) -> None:
    Knob.gate = Gate()
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path) as service:
            execution = await turned(keptn, service, 5)
            assert await service.journal.want_undo(execution, "order", "ada") is None
            await Knob.gate.until_entered(1)
        Knob.gate = None
        assert Knob.at == 5
        async with serving(keptn, tmp_path) as service:
            assert (await ended(service, execution)).state == "done"
        assert Knob.at == 0


async def test_an_undo_waits_for_whoever_holds_the_target(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await turned(keptn, service, 5)
        targets = service.runner.means.targets
        async with targets.hold(frozenset({"knob"}), "another", targets.moment()):
            assert await service.journal.want_undo(execution, "order", "ada") is None
            await until(lambda: targets._interest["knob"] == 2)
            assert Knob.undos == []
        assert (await ended(service, execution)).state == "done"


async def test_nothing_is_undone_any_more_once_the_process_leaves(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path) as service:
            execution = await turned(keptn, service, 5)
            await service.drain()
            assert await service.journal.want_undo(execution, "order", "ada") is None
            for _ in range(2):  # the second look begins when the first has ended
                service.operators.look()
                await until(lambda: not service.operators._ordered.is_set())
        assert Knob.undos == []
        async with serving(keptn, tmp_path) as service:
            assert (await ended(service, execution)).state == "done"
