"""Actions that only receive events: nothing is answered, and nobody waits for them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

from keptn_remedy import Action, Context, Outcome, TemporaryError, events
from keptn_remedy.service import Service, running
from keptn_remedy.testing import FakeKeptn, registry_of, run_action, triggered
from tests.providing import Gate, Greet, event_url, gated, provider, settings
from tests.waiting import is_finished, until


class Notice(Action):
    """Remembers what it received."""

    name = "notice"
    subscriptions: ClassVar[tuple[str, ...]] = (
        "sh.keptn.event.*.remediation.finished",
        "sh.keptn.event.action.triggered",
    )
    Value = dict[str, Any]
    noticed: ClassVar[list[tuple[str, Any]]] = []

    async def run(self, context: Context, value: dict[str, Any]) -> Outcome:
        self.noticed.append((context.trigger.type, value))
        return Outcome.passed("noticed", number=1)


@pytest.fixture(autouse=True)
def noticed() -> list[tuple[str, Any]]:
    Notice.noticed.clear()
    return Notice.noticed


def copy_of(event: dict[str, Any], subscriber: str = "notice") -> str:
    """The id of the copy of an event that a subscriber receives."""
    return events.for_subscriber(events.read_structured(orjson.dumps(event)), subscriber).id


async def ended(keptn: FakeKeptn, service: Service) -> dict[str, Any]:
    """The end of a sequence whose action was carried out."""
    trigger = triggered("greet", {"name": "Ada"})
    await keptn.deliver(trigger, to=event_url(service))
    await keptn.task_finished(trigger["id"])
    return keptn.sequence_finished(trigger["id"])


async def test_an_event_is_passed_on_once_and_not_answered(
    tmp_path: Path, noticed: list[tuple[str, Any]]
) -> None:
    async with FakeKeptn() as keptn:
        async with provider(tmp_path / "journal.db", keptn, Greet) as service:
            event = await ended(keptn, service)
        told = len(keptn.received)
        async with provider(tmp_path / "journal.db", keptn, Greet, Notice) as service:
            first = await keptn.deliver(event, to=event_url(service))
            id_ = copy_of(event)
            await is_finished(service.journal, id_)
            again = await keptn.deliver(event, to=event_url(service))
            record = await service.journal.record(id_)
        assert [first.json, again.json] == [{"execution": id_}, {"duplicate": id_}]
        assert noticed == [(event["type"], event["data"])]
        assert len(keptn.received) == told
    assert record
    assert (record.action, record.result, record.details) == ("notice", "pass", {"number": "1"})


async def test_a_trigger_is_answered_and_passed_on_and_neither_waits(tmp_path: Path) -> None:
    gate = Gate()
    async with FakeKeptn() as keptn:
        async with provider(tmp_path / "j.db", keptn, gated(gate), Notice) as service:
            trigger = triggered("wait")
            answer = await keptn.deliver(trigger, to=event_url(service))
            await gate.until_entered(1)
            await is_finished(service.journal, copy_of(trigger))
            gate.open()
            await keptn.task_finished(trigger["id"])
        assert answer.json == {"execution": trigger["id"]}


async def test_a_subscriber_outlives_the_sequence_that_it_hears_of(tmp_path: Path) -> None:
    """An abort is for whom Keptn waited, and a subscriber is none of these."""
    gate = Gate()
    heard = ("sh.keptn.event.*.remediation.finished", "sh.keptn.event.action.triggered")
    late = gated(gate, name="late", subscriptions=heard)
    async with FakeKeptn() as keptn:
        async with provider(tmp_path / "j.db", keptn, late, watch_seconds=0.02) as service:
            trigger = triggered("greet")
            await keptn.deliver(trigger, to=event_url(service))
            keptn.expect_unanswered(trigger["id"])
            await gate.until_entered(1)
            (event,) = keptn.abort(trigger["id"])
            await keptn.deliver(event, to=event_url(service))
            gate.open()
            for id_ in (copy_of(trigger, "late"), copy_of(event, "late")):
                await is_finished(service.journal, id_)
                record = await service.journal.record(id_)
                assert record
                assert (record.status, record.result) == ("succeeded", "pass")
        assert not keptn.received
        assert not [each for each in keptn.asked if "sequence-execution" in each]


async def test_an_event_that_a_subscriber_can_not_use_still_ends_an_execution(
    tmp_path: Path, noticed: list[tuple[str, Any]]
) -> None:
    gate = Gate()
    async with (
        FakeKeptn() as keptn,
        provider(tmp_path / "j.db", keptn, gated(gate), Notice) as service,
    ):
        trigger = triggered("wait")
        await keptn.deliver(trigger, to=event_url(service))
        await gate.until_entered(1)
        (event,) = keptn.abort(trigger["id"])
        event["data"]["service"] = None
        answer = await keptn.deliver(event, to=event_url(service))
        assert answer.json == {"noted": "executions aborted: 1"}
        await is_finished(service.journal, trigger["id"])
    assert event["type"] not in dict(noticed)


async def test_what_was_cut_off_is_repeated_without_asking_keptn(
    tmp_path: Path, noticed: list[tuple[str, Any]]
) -> None:
    gate, journal = Gate(), tmp_path / "journal.db"
    async with FakeKeptn() as keptn:
        cut_off = gated(gate, name="notice", subscriptions=Notice.subscriptions)
        trigger = triggered("greet")
        async with running(settings(journal, keptn), registry_of(cut_off)) as service:
            await keptn.deliver(trigger, to=event_url(service))
            keptn.expect_unanswered(trigger["id"])
            await gate.until_entered(1)
        async with provider(journal, keptn, Notice):
            await until(lambda: bool(noticed))
        assert not keptn.received


async def test_a_failure_is_nothing_to_keptn(tmp_path: Path) -> None:
    class Broken(Notice):
        name = "broken"

        async def run(self, context: Context, value: dict[str, Any]) -> Outcome:
            raise ValueError("a bug")

    async with FakeKeptn() as keptn, provider(tmp_path / "j.db", keptn, Broken) as service:
        trigger = triggered("greet")
        await keptn.deliver(trigger, to=event_url(service))
        keptn.expect_unanswered(trigger["id"])
        await is_finished(service.journal, copy_of(trigger, "broken"))
        assert not keptn.received


async def test_one_that_waits_for_its_turn_is_not_announced(tmp_path: Path) -> None:
    event = events.read_structured(orjson.dumps(triggered("greet")))
    async with FakeKeptn() as keptn, provider(tmp_path / "j.db", keptn, Greet) as service:
        waiting = await service.journal.accept(events.for_subscriber(event, "notice"), "notice")
        assert waiting
        assert await service.engine.runner.announce(waiting)
        assert await service.journal.begun(math.inf) == [waiting.id]
        assert not await service.journal.owed_reports(1)


async def test_what_an_event_lacks_is_empty(tmp_path: Path) -> None:
    class Everything(Notice):
        name = "everything"
        subscriptions = ("sh.keptn.>",)

    event = {**triggered(""), "type": "sh.keptn.event.project.create.finished"}
    event["data"] = {"project": "sockshop"}
    del event["shkeptncontext"]
    async with FakeKeptn() as keptn, provider(tmp_path / "j.db", keptn, Everything) as service:
        answer = await keptn.deliver(event, to=event_url(service))
        await is_finished(service.journal, answer.json["execution"])
    assert Notice.noticed == [(event["type"], {"project": "sockshop"})]


@pytest.mark.parametrize(
    "change",
    [
        {"source": "another"},
        {"type": "sh.keptn.event.test.triggered"},
        {"id": "another"},
        {"time": "2026-01-01T00:00:00.001Z"},
    ],
)
def test_events_that_differ_have_copies_of_their_own(change: dict[str, str]) -> None:
    event = triggered("greet")
    assert len({copy_of(event), copy_of({**event, **change}), copy_of(event, "late")}) == 3


def test_one_event_that_comes_by_two_ways_has_one_copy() -> None:
    event = triggered("greet")
    assert copy_of(event) == copy_of({**event, "time": "2026-01-01T00:00:00Z"})


async def test_the_mark_of_a_subscriber_is_set_here_only(
    tmp_path: Path, noticed: list[tuple[str, Any]]
) -> None:
    trigger = {**triggered("greet"), "remedysubscriber": "notice"}
    async with FakeKeptn() as keptn, provider(tmp_path / "j.db", keptn, Greet, Notice) as service:
        answer = await keptn.deliver(trigger, to=event_url(service))
        keptn.expect_unanswered(trigger["id"])
    assert answer.json == {"ignored": "attribute remedysubscriber is set here only"}
    assert noticed == []


@pytest.mark.parametrize(
    ("subscription", "received", "left"),
    [
        ("sh.keptn.event.action.finished", "action.finished", "test.finished"),
        ("sh.keptn.event.*.finished", "action.finished", "prod.remediation.finished"),
        ("sh.keptn.event.*.*.finished", "prod.remediation.finished", "action.finished"),
        ("sh.keptn.event.action.>", "action.status.changed", "action"),
    ],
)
def test_a_subscription_is_compared_part_by_part(
    subscription: str, received: str, left: str
) -> None:
    subscriber = type("Subscriber", (Notice,), {"name": "s", "subscriptions": (subscription,)})
    registry = registry_of(subscriber)
    assert registry.subscriptions == (subscription,)
    assert registry.subscribers_to(f"sh.keptn.event.{received}")
    assert not registry.subscribers_to(f"sh.keptn.event.{left}")


async def test_a_subscriber_is_retried_and_tested_with_its_data() -> None:
    class Flaky(Notice):
        name = "flaky"

        async def run(self, context: Context, value: dict[str, Any]) -> Outcome:
            if context.attempt == 1:
                raise TemporaryError("not yet")
            return Outcome.passed(value["result"])

    outcome = await run_action(Flaky, {"result": "pass"})
    assert outcome.message == "pass"
