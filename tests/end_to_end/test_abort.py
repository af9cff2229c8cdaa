"""What Keptn gives up is given up here: stopped, put back where wanted, and not answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest

from keptn_remedy import Change, Context, Outcome, Plan, PlannedAction
from keptn_remedy.journal import WholeRecord
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from tests.clocks import HastyClock
from tests.providing import Gate, event_url, gated, provider
from tests.waiting import is_finished, until

LATER = "version: 1\nrules: [{name: passing, undo: {on_closed: true}}]\n"
UNDOES = "version: 1\nrules: [{name: careful, undo: {on_abort: true}}]\n"
ASKS = "version: 1\nrules: [{name: careful, mode: approve}]\n"
WATCH_SECONDS = 0.05


class Valve(PlannedAction):
    """Opens a valve; each step can be held at a gate of its name."""

    name = "valve"
    retry_on = ()
    is_open: ClassVar[bool] = False
    verdict: ClassVar[Outcome] = Outcome.passed("open")
    gates: ClassVar[dict[str, Gate]] = {}
    steps: ClassVar[list[str]] = []

    async def plan(self, context: Context, value: Any) -> Plan:
        await self._step("plan")
        return Plan((Change("valve", "open", before=False, after=True),))

    async def apply(self, context: Context, plan: Plan) -> None:
        await self._step("apply")
        Valve.is_open = True

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        await self._step("verify")
        return self.verdict

    async def undo(self, context: Context, plan: Plan) -> None:
        await self._step("undo")
        Valve.is_open = False

    async def _step(self, name: str) -> None:
        self.steps.append(name)
        if gate := self.gates.get(name):
            await gate.passage(name)


@pytest.fixture(autouse=True)
def closed_valve() -> None:
    Valve.is_open = False
    Valve.verdict = Outcome.passed("open")
    Valve.gates = {}
    Valve.steps = []


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(UNDOES)
    return path


@pytest.fixture
def asking(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(ASKS)
    return path


@asynccontextmanager
async def serving(keptn: FakeKeptn, folder: Path, **settings: Any) -> AsyncIterator[Service]:
    gate = Valve.gates.get("run") or Gate()
    settings = {"watch_seconds": WATCH_SECONDS, **settings}
    async with provider(folder / "journal.db", keptn, Valve, gated(gate), **settings) as service:
        yield service


async def held_at(step: str, keptn: FakeKeptn, service: Service, action: str = "valve") -> str:
    """The id of an execution that is held at that step, and that Keptn was seen to wait for."""
    event = triggered(action)
    await keptn.deliver(event, to=event_url(service))
    await Valve.gates[step].until_entered(1)
    await until(lambda: is_listed(service, event["id"]))
    return str(event["id"])


async def is_listed(service: Service, execution_id: str) -> bool:
    return any(t.id == execution_id and t.listed for t in await service.journal.open_tasks(2**40))


async def ended(service: Service, execution_id: str) -> WholeRecord:
    await is_finished(service.journal, execution_id)
    record = await service.journal.record(execution_id)
    assert record is not None
    return record


async def test_what_an_abort_left_is_undone_when_the_rule_says(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(LATER)
    Valve.gates = {"verify": Gate()}
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, policy=policy) as service:
        execution = await held_at("verify", keptn, service)
        keptn.abort(execution)
        record = await ended(service, execution)
        assert "perhaps applied, and left" in (record.message or "")
        await keptn.deliver(keptn.problem_closed(execution), to=event_url(service))
        await until(lambda: not Valve.is_open)
        assert not keptn.finished(execution)


@pytest.mark.parametrize("release", ["0.8", "0.14", "0.19", "1.4"])
async def test_an_aborted_execution_is_stopped_undone_and_not_answered(
    tmp_path: Path, policy: Path, release: Any
) -> None:
    Valve.gates = {"verify": Gate()}
    async with FakeKeptn(release) as keptn, serving(keptn, tmp_path, policy=policy) as service:
        execution = await held_at("verify", keptn, service)
        keptn.abort(execution)
        record = await ended(service, execution)
        assert (record.status, record.result) == ("aborted", "fail")
        assert Valve.steps == ["plan", "apply", "verify", "undo"]
        assert not Valve.is_open
        refusal = await service.journal.want_undo(execution, "order", "ada")
        assert refusal == "it is undone already"
        assert not keptn.finished(execution)


async def test_without_a_rule_what_was_applied_is_left_and_told(tmp_path: Path) -> None:
    Valve.gates = {"verify": Gate()}
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await held_at("verify", keptn, service)
        keptn.abort(execution)
        record = await ended(service, execution)
        assert record.message
        assert "perhaps applied, and left: valve open: false -> true" in record.message
        assert Valve.is_open


async def test_an_answer_is_sent_all_the_same_where_that_is_set(tmp_path: Path) -> None:
    Valve.gates = {"plan": Gate()}
    async with (
        FakeKeptn() as keptn,
        serving(keptn, tmp_path, answer_aborted=True) as service,
    ):
        execution = await held_at("plan", keptn, service)
        keptn.abort(execution)
        await keptn.wait_until(lambda: bool(keptn.finished(execution)))
        assert keptn.finished(execution)[0].data["status"] == "errored"


async def test_a_change_under_way_is_not_cut_off(tmp_path: Path, policy: Path) -> None:
    """It could land after the undo had looked for it."""
    Valve.gates = {"apply": Gate()}
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, policy=policy) as service:
        execution = await held_at("apply", keptn, service)
        keptn.abort(execution)
        await until(lambda: is_given_up(service, execution))
        assert Valve.steps == ["plan", "apply"]
        Valve.gates["apply"].open()
        assert (await ended(service, execution)).status == "aborted"
        assert Valve.steps == ["plan", "apply", "undo"]


async def is_given_up(service: Service, execution_id: str) -> bool:
    record = await service.journal.record(execution_id)
    return record is not None and record.aborted is not None


async def test_an_undo_under_way_is_carried_to_its_end(tmp_path: Path) -> None:
    Valve.gates = {"undo": Gate()}
    Valve.verdict = Outcome.failed("it leaks")
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await held_at("undo", keptn, service)
        keptn.abort(execution)
        await until(lambda: is_given_up(service, execution))
        Valve.gates["undo"].open()
        record = await ended(service, execution)
        assert record.status == "aborted"
        assert record.message
        assert "it leaks; undone" in record.message
        assert Valve.steps == ["plan", "apply", "verify", "undo"]  # undone once
        assert not Valve.is_open
        assert not keptn.finished(execution)


async def test_a_late_abort_changes_nothing(tmp_path: Path, policy: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, policy=policy) as service:
        event = triggered("valve")
        await keptn.deliver(event, to=event_url(service))
        await keptn.task_finished(event["id"])
        for told in keptn.abort(event["id"]):
            answer = await keptn.deliver(told, to=event_url(service))
            assert "ignored" in answer.json
        assert (await ended(service, event["id"])).status == "succeeded"
        assert Valve.is_open


async def test_an_event_tells_of_the_abort_at_once(tmp_path: Path, policy: Path) -> None:
    Valve.gates = {"verify": Gate()}
    async with (
        FakeKeptn() as keptn,
        serving(keptn, tmp_path, policy=policy, watch_seconds=3600) as service,
    ):
        event = triggered("valve")
        await keptn.deliver(event, to=event_url(service))
        await Valve.gates["verify"].until_entered(1)
        for told in keptn.abort(event["id"]):
            answer = await keptn.deliver(told, to=event_url(service))
            assert answer.json == {"noted": "executions aborted: 1"}
        assert (await ended(service, event["id"])).status == "aborted"


async def test_an_abort_that_keptn_does_not_know_of_is_not_believed(tmp_path: Path) -> None:
    Valve.gates = {"verify": Gate()}
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, watch_seconds=3600) as service:
        event = triggered("valve")
        await keptn.deliver(event, to=event_url(service))
        await Valve.gates["verify"].until_entered(1)
        answer = await keptn.deliver(sequence_aborted(event), to=event_url(service))
        assert "ignored" in answer.json
        Valve.gates["verify"].open()
        assert (await keptn.task_finished(event["id"])).result == "pass"


def sequence_aborted(trigger: dict[str, Any]) -> dict[str, Any]:
    scope = {name: trigger["data"][name] for name in ("project", "stage", "service")}
    return {
        **trigger,
        "id": "forged",
        "type": f"sh.keptn.event.{scope['stage']}.remediation.finished",
        "time": "2099-01-01T00:00:00.000Z",
        "data": {**scope, "status": "aborted", "result": "pass"},
    }


async def test_nobody_acts_before_what_was_applied_is_put_back(
    tmp_path: Path, policy: Path
) -> None:
    Valve.gates = {"verify": Gate()}
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, policy=policy) as service:
        execution = await held_at("verify", keptn, service)
        other = triggered("valve", service="other")
        await keptn.deliver(other, to=event_url(service))
        await until(lambda: Valve.steps.count("plan") == 2)
        keptn.abort(execution)
        await ended(service, execution)
        await until(lambda: Valve.steps.count("verify") == 2)
        first_steps = ["plan", "apply", "verify", "plan", "undo"]
        assert Valve.steps[:5] == first_steps
        Valve.gates["verify"].open()
        await keptn.task_finished(other["id"])


async def test_a_dry_run_puts_nothing_back(tmp_path: Path, policy: Path) -> None:
    Valve.gates = {"verify": Gate()}
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path, policy=policy, drain_seconds=2) as service:
            execution = await held_at("verify", keptn, service)
        keptn.abort(execution)
        Valve.gates = {}
        async with serving(keptn, tmp_path, policy=policy, dry_run=True) as service:
            await is_finished(service.journal, execution)
        assert "undo" not in Valve.steps
        keptn.expect_unanswered(execution)


async def test_a_shutdown_does_not_cut_off_the_change_that_an_abort_waits_for(
    tmp_path: Path, policy: Path
) -> None:
    """The next process undoes it; until then it counts as perhaps applied."""
    Valve.gates = {"apply": Gate()}
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path, policy=policy, drain_seconds=2) as service:
            execution = await held_at("apply", keptn, service)
            keptn.abort(execution)
            await until(lambda: is_given_up(service, execution))
        assert Valve.steps == ["plan", "apply"]
        Valve.gates = {}
        async with serving(keptn, tmp_path, policy=policy) as service:
            assert (await ended(service, execution)).status == "aborted"
        assert Valve.steps == ["plan", "apply", "undo"]


class DeafGate(Gate):
    """Nobody who is held here hears a cancellation."""

    is_open = False

    def open(self) -> None:
        self.is_open = True
        super().open()

    async def passage(self, name: str) -> None:
        while not self.is_open:
            with suppress(asyncio.CancelledError):
                await super().passage(name)


async def test_what_is_aborted_and_takes_no_notice_of_it_is_not_answered(tmp_path: Path) -> None:
    Valve.gates = {"run": DeafGate()}
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await held_at("run", keptn, service, "wait")
        keptn.abort(execution)
        await Valve.gates["run"].until_entered(2)
        Valve.gates["run"].open()
        assert (await ended(service, execution)).status == "aborted"
        assert not keptn.finished(execution)


async def test_a_plain_action_is_cancelled(tmp_path: Path) -> None:
    Valve.gates = {"run": Gate()}
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        execution = await held_at("run", keptn, service, "wait")
        keptn.abort(execution)
        record = await ended(service, execution)
        assert record.status == "aborted"
        assert record.message
        assert "what it had done is not known" in record.message


async def test_what_waits_for_its_turn_is_never_begun(tmp_path: Path) -> None:
    Valve.gates = {"plan": Gate()}
    async with FakeKeptn() as keptn, serving(keptn, tmp_path) as service:
        await held_at("plan", keptn, service)
        waiting = triggered("valve")
        await keptn.deliver(waiting, to=event_url(service))
        await until(lambda: is_listed(service, waiting["id"]))
        keptn.abort(waiting["id"])
        await until(lambda: is_given_up(service, waiting["id"]))
        Valve.gates["plan"].open()
        assert (await ended(service, waiting["id"])).status == "aborted"
        assert Valve.steps == ["plan", "apply", "verify"]
        assert not keptn.events_of(waiting["id"])


async def test_what_waits_for_approval_is_closed(tmp_path: Path, asking: Path) -> None:
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, policy=asking) as service:
        event = triggered("valve")
        await keptn.deliver(event, to=event_url(service))
        await until(lambda: is_listed(service, event["id"]))
        keptn.abort(event["id"])
        assert (await ended(service, event["id"])).status == "aborted"
        assert await service.journal.questions(10) == []
        assert not Valve.is_open


async def test_who_approved_is_known_of_what_was_aborted_later(
    tmp_path: Path, asking: Path
) -> None:
    Valve.gates = {"verify": Gate()}
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, policy=asking) as service:
        event = triggered("valve")
        await keptn.deliver(event, to=event_url(service))
        await until(lambda: is_listed(service, event["id"]))

        async def is_approved() -> bool:
            return await service.journal.answer(event["id"], "approved", "ann", "go on") is None

        await until(is_approved)
        await Valve.gates["verify"].until_entered(1)
        keptn.abort(event["id"])
        record = await ended(service, event["id"])
        assert (record.status, record.details["approved_by"]) == ("aborted", "ann")


async def test_the_next_process_goes_on_with_giving_up(tmp_path: Path, policy: Path) -> None:
    Valve.gates = {"verify": Gate(), "undo": Gate()}
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path, policy=policy, drain_seconds=2) as service:
            execution = await held_at("verify", keptn, service)
            keptn.abort(execution)
            await Valve.gates["undo"].until_entered(1)
        Valve.gates = {}
        left_open = Valve.is_open
        async with serving(keptn, tmp_path, policy=policy) as service:
            assert (await ended(service, execution)).status == "aborted"
        assert (left_open, Valve.is_open) == (True, False)
        assert len(keptn.started(execution)) == 1
        assert not keptn.finished(execution)


async def test_what_was_aborted_while_we_were_away_is_given_up(
    tmp_path: Path, policy: Path
) -> None:
    Valve.gates = {"verify": Gate()}
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path, policy=policy, drain_seconds=2) as service:
            execution = await held_at("verify", keptn, service)
        keptn.abort(execution)
        Valve.gates = {"verify": Gate()}
        async with serving(keptn, tmp_path, policy=policy) as service:
            assert (await ended(service, execution)).status == "aborted"
        assert not Valve.is_open


async def test_an_abort_that_is_told_twice_at_once_is_one(tmp_path: Path, policy: Path) -> None:
    Valve.gates = {"verify": Gate()}
    async with (
        FakeKeptn() as keptn,
        serving(keptn, tmp_path, policy=policy, watch_seconds=3600) as service,
    ):
        event = triggered("valve")
        await keptn.deliver(event, to=event_url(service))
        await Valve.gates["verify"].until_entered(1)
        [told] = keptn.abort(event["id"])
        answers = await asyncio.gather(
            *(keptn.deliver(told, to=event_url(service)) for _ in range(2))
        )
        given_up = [answer for answer in answers if "noted" in answer.json]
        assert len(given_up) == 1
        assert (await ended(service, event["id"])).status == "aborted"
        assert Valve.steps == ["plan", "apply", "verify", "undo"]


async def test_nobody_gives_up_what_is_being_put_back(tmp_path: Path, policy: Path) -> None:
    Valve.gates = {"verify": Gate(), "undo": Gate()}
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, policy=policy) as service:
        execution = await held_at("verify", keptn, service)
        keptn.abort(execution)
        await Valve.gates["undo"].until_entered(1)
        service.engine.runner.abort(execution, "told once more")
        Valve.gates["undo"].open()
        record = await ended(service, execution)
        assert record.message == "Keptn no longer waits for it; undone"
        assert not Valve.is_open


async def test_what_is_put_back_too_slowly_is_not_answered(tmp_path: Path, policy: Path) -> None:
    Valve.gates = {"verify": Gate(), "undo": DeafGate()}
    clock = HastyClock()
    async with (
        FakeKeptn() as keptn,
        serving(keptn, tmp_path, policy=policy, clock=clock) as service,
    ):
        execution = await held_at("verify", keptn, service)
        keptn.abort(execution)
        await Valve.gates["undo"].until_entered(1)
        clock.shift = 10_000
        assert (await ended(service, execution)).status == "aborted"
        assert not keptn.finished(execution)
        Valve.gates["undo"].open()


async def test_what_an_earlier_process_left_to_be_put_back_is_watched_too(
    tmp_path: Path, policy: Path
) -> None:
    Valve.gates = {"verify": Gate()}
    clock = HastyClock()
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path, policy=policy, drain_seconds=2) as service:
            execution = await held_at("verify", keptn, service)
            await service.journal.note_abort(execution, "Keptn no longer waits for it")
        keptn.abort(execution)
        Valve.gates = {"undo": DeafGate()}
        async with serving(keptn, tmp_path, policy=policy, clock=clock) as service:
            await Valve.gates["undo"].until_entered(1)
            clock.shift = 10_000
            assert (await ended(service, execution)).status == "aborted"
            Valve.gates["undo"].open()


async def test_what_may_not_be_put_back_during_a_pause_is_put_back_after_it(
    tmp_path: Path, policy: Path
) -> None:
    Valve.gates = {"verify": Gate()}
    async with FakeKeptn() as keptn, serving(keptn, tmp_path, policy=policy) as service:
        execution = await held_at("verify", keptn, service)
        await service.journal.pause("bob", "drill")
        await until(lambda: service.pauses.current is not None)
        keptn.abort(execution)
        record = await ended(service, execution)
        assert record.message
        assert "to be undone after the pause: refused by guard-rail pause" in record.message
        assert Valve.is_open
        await service.journal.resume()
        await until(lambda: not Valve.is_open)


async def test_what_was_applied_is_told_where_its_action_is_off_by_now(
    tmp_path: Path, policy: Path
) -> None:
    Valve.gates = {"verify": Gate()}
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path, policy=policy, drain_seconds=2) as service:
            execution = await held_at("verify", keptn, service)
            await service.journal.note_abort(execution, "Keptn no longer waits for it")
        keptn.abort(execution)
        async with provider(tmp_path / "journal.db", keptn, policy=policy) as service:
            record = await ended(service, execution)
    left = "perhaps applied, and left: valve open: false -> true"
    assert record.message == f"Keptn no longer waits for it; {left}"


async def test_what_is_put_back_after_a_refusal_is_known_as_undone(tmp_path: Path) -> None:
    Valve.gates = {"verify": Gate()}
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nrules: []\n")
    async with FakeKeptn() as keptn:
        async with serving(keptn, tmp_path, policy=policy, drain_seconds=2) as service:
            execution = await held_at("verify", keptn, service)
        policy.write_text("version: 1\nrules: [{name: no, decision: deny}]\n")
        async with serving(keptn, tmp_path, policy=policy) as service:
            record = await ended(service, execution)
            assert record.message
            assert record.message.startswith("refused by guard-rail decision (no)")
            assert not Valve.is_open
            refusal = await service.journal.want_undo(execution, "order", "ada")
            assert refusal == "it is undone already"
