"""Undoing finished executions: by order, when the problem closes, or when their time is up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from keptn_remedy import Change, Context, Denied, Outcome, PermanentError, Plan, PlannedAction
from keptn_remedy.engine.undo import undoer
from keptn_remedy.journal import DueUndo, JournalError, Undo
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from tests.clocks import MovedClock
from tests.providing import Gate, event_url, get_json, ops_url, provider
from tests.waiting import until

ENDED = ("done", "refused", "failed")
ON_CLOSED = "version: 1\nrules: [{name: passing, undo: {on_closed: true}}]\n"
FOR_AN_HOUR = "version: 1\nrules: [{name: passing, undo: {after: 1h}}]\n"


class Knob(PlannedAction):
    """Turns a knob to a number, by compare-and-set in both directions."""

    name = "knob"
    Value = int
    at: ClassVar[int] = 0
    verdict: ClassVar[Outcome | None] = None
    gate: ClassVar[Gate | None] = None
    once_applied: ClassVar[list[Callable[[], Awaitable[None]]]] = []
    returns: ClassVar[Any] = None
    undos: ClassVar[list[str]] = []
    fails: ClassVar[list[Exception]] = []
    log: ClassVar[list[str]] = []

    async def plan(self, context: Context, value: int) -> Plan:
        if value == self.at:
            return Plan(())
        return Plan((Change("knob", "number", self.at, value),))

    async def apply(self, context: Context, plan: Plan) -> None:
        self.log.append("apply")
        for change in plan.changes:
            Knob.at = change.after
        for follow in self.once_applied:
            await follow()

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return self.verdict or Outcome.passed(f"at {self.at}")

    async def undo(self, context: Context, plan: Plan) -> Any:
        self.undos.append(context.trigger.id)
        self.log.append("undo")
        if self.gate:
            await self.gate.passage(context.trigger.id)
        if self.fails:
            raise self.fails.pop()
        change = plan.changes[0]
        if self.at == change.before:
            return self.returns
        if self.at != change.after:
            raise Denied(f"the knob is at {self.at}, not at {change.after}: left alone")
        Knob.at = change.before
        return self.returns


class StubbornGate(Gate):
    """A gate at which nobody can be cancelled."""

    async def passage(self, name: str) -> None:
        while True:
            with suppress(asyncio.CancelledError):
                return await super().passage(name)


class Lamps(PlannedAction):
    """Lights lamps; what undoes it can be held up at gates, by lamp."""

    name = "lamps"
    Value = list[str]
    gates: ClassVar[dict[str, Gate]] = {}
    undone: ClassVar[list[str]] = []

    async def plan(self, context: Context, value: list[str]) -> Plan:
        return Plan(tuple(Change(lamp, "lit", False, True) for lamp in value))

    async def apply(self, context: Context, plan: Plan) -> None:
        pass

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return Outcome.passed("lit")

    async def undo(self, context: Context, plan: Plan) -> None:
        lamps = "+".join(sorted(plan.targets))
        if lamps in self.gates:
            await self.gates[lamps].passage(lamps)
        self.undone.append(lamps)


@pytest.fixture(autouse=True)
def zero() -> None:
    Knob.at = 0
    Knob.verdict = None
    Knob.gate = None
    Knob.once_applied = []
    Knob.returns = None
    Knob.undos = []
    Knob.fails = []
    Knob.log = []
    Lamps.gates = {}
    Lamps.undone = []


@asynccontextmanager
async def serving(
    keptn: FakeKeptn, folder: Path, policy: str | None = None, **others: Any
) -> AsyncIterator[Service]:
    if policy:
        others["policy"] = folder / "policy.yaml"
        others["policy"].write_text(policy)
    async with provider(folder / "journal.db", keptn, Knob, Lamps, **others) as service:
        yield service


async def turned(keptn: FakeKeptn, service: Service, to: int, **fields: Any) -> str:
    """The id of an execution that has turned the knob."""
    return await acted(keptn, service, triggered("knob", to) | fields)


async def lit(keptn: FakeKeptn, service: Service, *lamps: str) -> str:
    """The id of an execution that has lit lamps."""
    return await acted(keptn, service, triggered("lamps", list(lamps)))


async def acted(keptn: FakeKeptn, service: Service, event: dict[str, Any]) -> str:
    await keptn.deliver(event, to=event_url(service))
    await keptn.task_finished(event["id"])
    return str(event["id"])


async def looked(service: Service) -> None:
    """Return once undos that are due have been looked for."""
    for _ in range(2):  # the second look begins when the first has ended
        service.engine.look()
        await until(lambda: not service.engine.undos._wake.is_set())


async def order(service: Service, execution: str) -> None:
    assert await service.journal.want_undo(execution, "order", "ada", "too loud") is None


async def state_of(service: Service, execution: str) -> str:
    undo = await service.journal.undo_of(execution)
    assert undo
    return undo.state


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
    await order(service, execution)
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


async def test_an_undo_that_a_pause_held_back_follows_it(tmp_path: Path) -> None:
    Knob.verdict = Outcome.failed("too loud")
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:

        async def pause() -> None:
            await service.journal.pause("bob", "fire drill")
            await until(lambda: service.pauses.current is not None)

        Knob.once_applied = [pause]
        execution = await turned(keptn, service, 5)
        message = keptn.finished(execution)[0].data["message"]
        assert "too loud; to be undone after the pause: refused by guard-rail pause" in message
        await looked(service)
        assert Knob.at == 5
        await service.journal.resume()
        assert (await ended(service, execution)).cause == "failed verification"
        assert Knob.at == 0


@pytest.mark.parametrize(
    ("error", "state", "told"),
    [
        (PermanentError("no such flag"), "failed", "UNDO FAILED: no such flag"),
        (Denied("somebody turned it since"), "refused", "not undone: somebody turned it since"),
    ],
)
async def test_an_undo_of_its_own_that_fails_is_kept_and_counted(
    tmp_path: Path, error: Exception, state: str, told: str
) -> None:
    Knob.verdict = Outcome.failed("too loud")
    Knob.fails = [error]
    softer = "version: 1\nrules: [{name: softer, on_failed: warning}]"
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, policy=softer) as service:
        execution = await turned(keptn, service, 5)
        data = keptn.finished(execution)[0].data
        assert data["result"] == "warning"
        assert data["message"].startswith(f"too loud; {told}")
        undo = await service.journal.undo_of(execution)
        assert undo
        assert (undo.state, undo.cause, undo.message) == (state, "failed verification", str(error))
        counted = {"action": "knob", "state": state}
        registry = service.engine.runtime.metrics.registry
        assert registry.get_sample_value("remedy_undos_total", counted) == 1
        assert (await ordered(service, execution)).state == "done"
        assert Knob.at == 0


async def test_what_a_failure_left_is_undone_when_the_rule_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Knob, "undo_on_failed_verification", False)
    Knob.verdict = Outcome.failed("too loud")
    passing = "version: 1\nrules: [{name: passing, undo: {on_closed: true}}]"
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, policy=passing) as service:
        execution = await turned(keptn, service, 5)
        assert Knob.at == 5
        await keptn.deliver(keptn.problem_closed(execution), to=event_url(service))
        assert (await ended(service, execution)).cause == "problem closed"
        assert Knob.at == 0


async def test_a_pause_refuses_an_order(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await turned(keptn, service, 5)
        await service.journal.pause("bob", "fire drill")
        await until(lambda: service.pauses.current is not None)
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
        assert answer.json == {"noted": "executions to undo, as their problem is closed: 1"}
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
        undo = await service.journal.undo_of(execution)
        assert undo
        assert (undo.state, undo.cause) == ("done", "failed verification")
        refusal = await service.journal.want_undo(execution, "order", "ada")
        assert refusal == "it is undone already"


async def test_several_rounds_are_undone_from_the_last_to_the_first(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, ON_CLOSED) as service:
        first = await turned(keptn, service, 2, shkeptncontext="rounds")
        second = await turned(keptn, service, 4, shkeptncontext="rounds")
        await keptn.deliver(keptn.problem_closed(first), to=event_url(service))
        assert (await ended(service, first)).state == "done"
        assert Knob.undos == [second, first]
        assert Knob.at == 0


async def test_an_undo_comes_when_the_time_is_up(tmp_path: Path) -> None:
    clock = MovedClock()
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, FOR_AN_HOUR, clock=clock) as service:
        execution = await turned(keptn, service, 5)
        clock.forward(3590)
        await service.journal.records()
        assert Knob.at == 5
        clock.forward(11)
        undo = await ended(service, execution)
        assert (undo.state, undo.cause) == ("done", "time is up")
        assert Knob.at == 0


async def test_an_automatic_undo_waits_for_the_end_of_a_pause(tmp_path: Path) -> None:
    pause = tmp_path / "pause"
    async with (
        FakeKeptn() as keptn,
        serving(keptn, tmp_path, ON_CLOSED, pause_file=pause) as service,
    ):
        execution = await turned(keptn, service, 5)
        pause.write_text("fire drill")
        await until(lambda: service.pauses.current is not None)
        await keptn.deliver(keptn.problem_closed(execution), to=event_url(service))
        await looked(service)
        assert await state_of(service, execution) == "wanted"
        pause.unlink()
        assert (await ended(service, execution)).state == "done"


async def test_the_next_process_carries_an_undo_out(tmp_path: Path) -> None:
    Knob.gate = Gate()
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path, drain_seconds=2) as service:
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
        targets = service.engine.locks
        async with targets.hold(frozenset({"knob"}), "another", targets.moment):
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
            await looked(service)
        assert Knob.undos == []
        async with serving(keptn, tmp_path) as service:
            assert (await ended(service, execution)).state == "done"


async def test_a_dry_run_process_undoes_nothing(tmp_path: Path) -> None:
    """Orders are told so; what nobody ordered waits for a process that acts."""
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path, ON_CLOSED) as service:
            first = await turned(keptn, service, 5)
            second = await lit(keptn, service, "hall")
        async with serving(keptn, tmp_path, ON_CLOSED, dry_run=True) as service:
            undo = await ordered(service, first)
            assert (undo.state, undo.message) == (
                "refused",
                "dry run: it would have undone knob number: 0 -> 5",
            )
            context = (await service.journal.records())[0].context
            assert await service.journal.problem_closed(context) == 1
            await looked(service)
            assert await state_of(service, second) == "wanted"
        assert (Knob.undos, Lamps.undone) == ([], [])
        async with serving(keptn, tmp_path, ON_CLOSED) as service:
            assert (await ended(service, second)).state == "done"


async def test_an_undo_that_returns_no_text_has_failed(tmp_path: Path) -> None:
    Knob.returns = True
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await turned(keptn, service, 5)
        undo = await ordered(service, execution)
        assert (undo.state, undo.message) == (
            "failed",
            "unexpected TypeError: undo returned bool instead of text or None",
        )
        Knob.returns = "all quiet"
        undo = await ordered(service, execution)
        assert (undo.state, undo.message) == ("done", "all quiet")


async def test_an_undo_that_cannot_even_begin_stops_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        first, second = await turned(keptn, service, 5), await lit(keptn, service, "hall")
        registry = type(service.registry)
        monkeypatch.setattr(registry, "find", lambda *_: 1 / 0)
        undo = await ordered(service, first)
        assert (undo.state, undo.message) == (
            "failed",
            "unexpected ZeroDivisionError: division by zero",
        )
        monkeypatch.undo()
        assert (await ordered(service, second)).state == "done"


async def test_an_undo_goes_on_after_a_journal_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = [JournalError("disk I/O error")]
    find = SqliteJournal.overtaken

    async def find_later(journal: SqliteJournal, execution_id: str) -> str | None:
        if failures:
            raise failures.pop()
        return await find(journal, execution_id)

    monkeypatch.setattr(SqliteJournal, "overtaken", find_later)
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await turned(keptn, service, 5)
        assert (await ordered(service, execution)).state == "done"
        assert failures == []


async def test_an_undo_that_takes_long_holds_up_no_other(tmp_path: Path) -> None:
    Lamps.gates["hall"] = Gate()
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        slow, quick = await lit(keptn, service, "hall"), await lit(keptn, service, "attic")
        await order(service, slow)
        await Lamps.gates["hall"].until_entered(1)
        assert (await ordered(service, quick)).state == "done"
        Lamps.gates["hall"].open()
        assert (await ended(service, slow)).state == "done"


async def test_an_undo_of_a_busy_target_holds_up_no_other(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        busy, free = await lit(keptn, service, "hall"), await lit(keptn, service, "attic")
        targets = service.engine.locks
        async with targets.hold(frozenset({"hall"}), "another", targets.moment):
            await order(service, busy)
            await until(lambda: targets._interest["hall"] == 2)
            assert (await ordered(service, free)).state == "done"
        assert (await ended(service, busy)).state == "done"


async def test_undos_that_share_a_target_are_carried_out_one_after_the_other(
    tmp_path: Path,
) -> None:
    Lamps.gates["attic"] = Gate()
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        oldest = await lit(keptn, service, "hall")
        middle = await lit(keptn, service, "attic", "hall")
        newest = await lit(keptn, service, "attic")
        await order(service, newest)
        await Lamps.gates["attic"].until_entered(1)
        await order(service, middle)
        await order(service, oldest)
        await looked(service)
        assert Lamps.undone == []
        Lamps.gates["attic"].open()
        assert (await ended(service, oldest)).state == "done"
        assert Lamps.undone == ["attic", "attic+hall", "hall"]


async def test_only_so_many_undos_are_under_way_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undoer, "UNDOS_AT_ONCE", 1)
    Lamps.gates["hall"] = Gate()
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        first, second = await lit(keptn, service, "hall"), await lit(keptn, service, "attic")
        await order(service, first)
        await Lamps.gates["hall"].until_entered(1)
        await order(service, second)
        await looked(service)
        assert await state_of(service, second) == "wanted"
        Lamps.gates["hall"].open()
        assert (await ended(service, second)).state == "done"


async def test_undos_that_wait_for_their_target_take_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undoer, "UNDOS_AT_ONCE", 1)
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        busy, free = await lit(keptn, service, "hall"), await lit(keptn, service, "attic")
        targets = service.engine.locks
        async with targets.hold(frozenset({"hall"}), "another", targets.moment):
            await order(service, busy)
            await until(lambda: targets._interest["hall"] == 2)
            assert (await ordered(service, free)).state == "done"
        assert (await ended(service, busy)).state == "done"


async def test_an_undo_that_has_its_target_waits_for_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undoer, "UNDOS_AT_ONCE", 1)
    Lamps.gates["attic"] = Gate()
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        busy, slow = await lit(keptn, service, "hall"), await lit(keptn, service, "attic")
        targets = service.engine.locks
        async with targets.hold(frozenset({"hall"}), "another", targets.moment):
            await order(service, busy)
            await until(lambda: targets._interest["hall"] == 2)
            await order(service, slow)
            await Lamps.gates["attic"].until_entered(1)
        await until(lambda: "hall" not in targets._interest)
        assert await state_of(service, busy) == "wanted"
        Lamps.gates["attic"].open()
        assert (await ended(service, busy)).state == "done"
        assert Lamps.undone == ["attic", "hall"]


async def test_what_is_due_earlier_waits_for_the_undo_of_what_came_later(tmp_path: Path) -> None:
    clock = MovedClock()
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, FOR_AN_HOUR, clock=clock) as service:
        first = await turned(keptn, service, 5)
        clock.forward(1800)
        second = await turned(keptn, service, 9)
        clock.forward(1900)
        await looked(service)
        assert await state_of(service, first) == "armed"
        clock.forward(1800)
        assert (await ended(service, first)).state == "done"
        assert Knob.undos == [second, first]
        assert Knob.at == 0


async def test_a_problem_that_closes_first_waits_for_a_later_one(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, ON_CLOSED) as service:
        first = await turned(keptn, service, 5, shkeptncontext="first")
        second = await turned(keptn, service, 9, shkeptncontext="second")
        await service.journal.problem_closed("first")
        await looked(service)
        assert await state_of(service, first) == "wanted"
        await service.journal.problem_closed("second")
        assert (await ended(service, first)).state == "done"
        assert Knob.undos == [second, first]
        assert Knob.at == 0


async def test_what_waited_for_an_undo_that_is_refused_is_refused_too(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, ON_CLOSED) as service:
        first = await turned(keptn, service, 5, shkeptncontext="first")
        second = await turned(keptn, service, 9, shkeptncontext="second")
        Knob.at = 7
        await service.journal.problem_closed("first")
        await service.journal.problem_closed("second")
        undo = await ended(service, first)
        assert (undo.state, undo.message) == (
            "refused",
            f"execution {second} acted on it since; undo that one first",
        )
        assert Knob.at == 7


async def test_the_target_of_an_undo_that_was_cut_off_is_kept_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Knob.gate = Gate()
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path, drain_seconds=2) as service:
            execution = await turned(keptn, service, 5)
            await order(service, execution)
            await Knob.gate.until_entered(1)
            later = triggered("knob", 9)
            await keptn.deliver(later, to=event_url(service))
            await until(lambda: service.engine.locks._interest["knob"] == 2)
        gate = Knob.gate = Gate()
        find, may_begin = SqliteJournal.due_undos, asyncio.Event()

        async def find_late(journal: SqliteJournal, now: float, limit: int) -> list[DueUndo]:
            await may_begin.wait()
            return await find(journal, now, limit)

        monkeypatch.setattr(SqliteJournal, "due_undos", find_late)
        async with serving(keptn, tmp_path) as service:
            await until(lambda: service.engine.locks._interest.get("knob") == 2)
            gate.open()
            may_begin.set()
            assert (await ended(service, execution)).state == "done"
            await keptn.task_finished(later["id"])
        assert Knob.log == ["apply", "undo", "undo", "apply"]


async def test_an_undo_that_was_cut_off_keeps_no_target_during_a_pause(tmp_path: Path) -> None:
    Knob.gate = Gate()
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path, ON_CLOSED, drain_seconds=2) as service:
            execution = await turned(keptn, service, 5, shkeptncontext="first")
            await service.journal.problem_closed("first")
            await Knob.gate.until_entered(1)
            await service.journal.pause("bob", "fire drill")
        Knob.gate = None
        async with serving(keptn, tmp_path, ON_CLOSED) as service:
            refused = await turned(keptn, service, 9)
            assert "paused by bob" in keptn.finished(refused)[0].data["message"]
            assert await state_of(service, execution) == "wanted"
            await service.journal.resume()
            assert (await ended(service, execution)).state == "done"


async def test_an_undo_that_was_cut_off_comes_before_an_order_for_its_target(
    tmp_path: Path,
) -> None:
    Knob.gate = Gate()
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path, ON_CLOSED, drain_seconds=2) as service:
            first = await turned(keptn, service, 5, shkeptncontext="first")
            second = await turned(keptn, service, 9, shkeptncontext="second")
            await service.journal.problem_closed("second")
            await Knob.gate.until_entered(1)
            await order(service, first)
        Knob.gate = None
        async with serving(keptn, tmp_path, ON_CLOSED) as service:
            assert (await ended(service, first)).state == "done"
        assert Knob.undos == [second, second, first]
        assert Knob.at == 0


async def test_a_pause_that_comes_as_an_automatic_undo_begins_puts_it_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = SqliteJournal.begin_undo
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, ON_CLOSED) as service:

        async def begin_and_pause(journal: SqliteJournal, execution_id: str) -> bool:
            has_begun = await begin(journal, execution_id)
            await service.pauses.pause("bob", "fire drill")
            return has_begun

        async def is_wanted() -> bool:
            return await state_of(service, execution) == "wanted"

        monkeypatch.setattr(SqliteJournal, "begin_undo", begin_and_pause)
        execution = await turned(keptn, service, 5, shkeptncontext="first")
        await service.journal.problem_closed("first")
        await until(lambda: service.pauses.current is not None)
        await until(is_wanted)
        monkeypatch.undo()
        assert Knob.undos == []
        await service.journal.resume()
        assert (await ended(service, execution)).state == "done"


async def test_an_undo_under_way_comes_to_its_end_before_the_process_leaves(
    tmp_path: Path,
) -> None:
    Knob.gate = Gate()
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await turned(keptn, service, 5)
        await order(service, execution)
        await Knob.gate.until_entered(1)
        leaving = asyncio.create_task(service.drain())
        await until(lambda: service.readiness.leaving)
        Knob.gate.open()
        await leaving
        assert await state_of(service, execution) == "done"


async def test_leaving_waits_for_no_undo_that_has_not_begun(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await turned(keptn, service, 5)
        targets = service.engine.locks
        async with targets.hold(frozenset({"knob"}), "another", targets.moment):
            await order(service, execution)
            await until(lambda: targets._interest["knob"] == 2)
            async with asyncio.timeout(5):
                await service.drain()
        assert await state_of(service, execution) == "wanted"


async def test_an_undo_that_ignores_its_cancellation_does_not_keep_the_process(
    tmp_path: Path,
) -> None:
    gate = Lamps.gates["hall"] = StubbornGate()
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, drain_seconds=2) as service:
        execution = await lit(keptn, service, "hall")
        await order(service, execution)
        await gate.until_entered(1)
        async with asyncio.timeout(5):
            await service.drain()
        assert await state_of(service, execution) == "running"
        gate.open()
        assert (await ended(service, execution)).state == "done"


@asynccontextmanager
async def given_up(
    keptn: FakeKeptn, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Service, str]]:
    """An execution whose undo was given up: it ignores its deadline, and goes on."""
    monkeypatch.setattr(Lamps, "timeout", 0.02)
    gate = Lamps.gates["hall"] = StubbornGate()
    clock = MovedClock()
    async with serving(keptn, folder, clock=clock) as service:
        try:
            execution = await lit(keptn, service, "hall")
            await order(service, execution)
            await gate.until_entered(2)  # it was cut off
            clock.forward(60)
            undo = await ended(service, execution)
            assert undo.state == "failed"
            assert undo.message
            assert "s after it was cut off; nobody waits for it" in undo.message
            yield service, execution
        finally:
            gate.open()


async def test_an_undo_that_ignores_its_deadline_has_failed_and_keeps_only_its_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(undoer, "UNDOS_AT_ONCE", 1)
    async with FakeKeptn() as keptn, given_up(keptn, tmp_path, monkeypatch) as (service, execution):
        assert (await ordered(service, await lit(keptn, service, "attic"))).state == "done"
        later = triggered("lamps", ["hall"])
        await keptn.deliver(later, to=event_url(service))
        await keptn.task_finished(later["id"])
        told = keptn.finished(later["id"])[0].data["message"]
        assert told == f"its target is held by execution {execution}, which ignores its deadline"
        Lamps.gates["hall"].open()
        await until(lambda: execution not in service.engine.overdue)
        again = triggered("lamps", ["hall"])
        await keptn.deliver(again, to=event_url(service))
        await keptn.task_finished(again["id"])
        assert keptn.finished(again["id"])[0].data["result"] == "pass"


async def test_what_was_given_up_is_undone_anew_only_once_it_has_really_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeKeptn() as keptn, given_up(keptn, tmp_path, monkeypatch) as (service, execution):
        await order(service, execution)
        await looked(service)
        assert await state_of(service, execution) == "wanted"
        Lamps.gates["hall"].open()
        assert (await ended(service, execution)).state == "done"
        assert Lamps.undone == ["hall", "hall"]


async def test_leaving_waits_for_no_undo_that_was_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with FakeKeptn() as keptn, given_up(keptn, tmp_path, monkeypatch) as (service, execution):
        async with asyncio.timeout(5):
            await service.drain()
        assert await state_of(service, execution) == "failed"
