"""Tasks other than `action`, such as `get-sli` and `test`, through the whole provider."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from keptn_remedy import Action, Context, Outcome, TemporaryError
from keptn_remedy.events import event_type
from keptn_remedy.service import running
from keptn_remedy.testing import FakeKeptn, registry_of, run_action, triggered
from keptn_remedy.testing.fake_keptn import Release
from tests.core.keptn.test_missed_triggers import begin
from tests.providing import Gate, Greet, event_url, gated, provider, settings
from tests.waiting import is_finished

INDICATORS = [{"metric": "errors", "value": 0.25, "success": True}]


class GetSli(Action):
    """Answers lighthouse."""

    task = "get-sli"

    class Value(BaseModel):
        indicators: list[str]

    async def run(self, context: Context, value: Value) -> Outcome:
        found = [{**INDICATORS[0], "metric": name} for name in value.indicators]
        return Outcome.passed("asked", indicatorValues=found, attempt=context.attempt)


def asked(**others: Any) -> dict[str, Any]:
    return triggered("", {"indicators": ["errors"]}, task="get-sli", **others)


def types_of(keptn: FakeKeptn, trigger: dict[str, Any]) -> list[str]:
    return [event.type for event in keptn.events_of(trigger["id"])]


@pytest.mark.parametrize("release", ["0.8", "0.14", "0.19", "1.4"])
async def test_a_task_is_answered_with_its_own_events_and_data(
    tmp_path: Path, release: Release
) -> None:
    async with FakeKeptn(release) as keptn:
        trigger = asked()
        async with provider(tmp_path / "journal.db", keptn, GetSli, Greet) as service:
            answer = await keptn.deliver(trigger, to=event_url(service))
            await keptn.task_finished(trigger["id"])
        assert (answer.status, answer.json) == (202, {"execution": trigger["id"]})
        assert types_of(keptn, trigger) == [
            event_type("get-sli", "started"),
            event_type("get-sli", "finished"),
        ]
        data = keptn.finished(trigger["id"])[0].data
        assert data["get-sli"] == {"indicatorValues": INDICATORS, "attempt": 1}
        assert (data["result"], data["message"]) == ("pass", "asked")
        assert not data.keys() & {"action", "remedy"}


async def test_tasks_and_actions_are_not_taken_for_each_other(tmp_path: Path) -> None:
    """An action trigger may have the name of a task's class; a task that nobody serves is left."""
    named = triggered("get-sli", {"indicators": []})
    other = triggered("greet", task="greet")
    async with FakeKeptn() as keptn, provider(tmp_path / "j.db", keptn, GetSli, Greet) as service:
        said = [await keptn.deliver(each, to=event_url(service)) for each in (named, other)]
        assert not keptn.received
        for each in (named, other):
            keptn.expect_unanswered(each["id"])
    assert [(each.status, each.json) for each in said] == [
        (200, {"ignored": "there is no action 'get-sli' here"}),
        (200, {"ignored": "there is no action for the task 'greet' here"}),
    ]


class Choosy(GetSli):
    """Takes what is meant for it, as one of several SLI providers."""

    def accepts(self, trigger: Any) -> bool:
        if (named := trigger.value["sliProvider"]) == "exit":
            sys.exit(4)
        return bool(named == "choosy")


async def test_what_an_action_does_not_accept_is_left_to_other_providers(tmp_path: Path) -> None:
    values = [
        {"indicators": [], **provider}
        for provider in ({"sliProvider": "other"}, {"sliProvider": "exit"}, {})
    ]
    others = [triggered("", value, task="get-sli") for value in values]
    ours = triggered("", {"indicators": [], "sliProvider": "choosy"}, task="get-sli")
    async with FakeKeptn() as keptn, provider(tmp_path / "journal.db", keptn, Choosy) as service:
        said = [await keptn.deliver(each, to=event_url(service)) for each in others]
        for each in others:
            keptn.expect_unanswered(each["id"])
        assert not keptn.received
        await keptn.deliver(ours, to=event_url(service))
        await keptn.task_finished(ours["id"])
    left = {"ignored": "the action get-sli leaves it to other providers"}
    assert [(each.status, each.json) for each in said] == [(200, left)] * 3


async def test_a_failed_task_is_told_under_its_own_name(tmp_path: Path) -> None:
    trigger = triggered("", {"indicators": "all"}, task="get-sli")
    async with FakeKeptn() as keptn:
        async with provider(tmp_path / "journal.db", keptn, GetSli) as service:
            await keptn.deliver(trigger, to=event_url(service))
            await keptn.task_finished(trigger["id"])
            await keptn.wait_until(lambda: len(keptn.log_entries) > 0)
        assert keptn.finished(trigger["id"])[0].data["status"] == "errored"
        assert {entry.task for entry in keptn.log_entries} == {"get-sli"}


async def test_a_task_that_was_never_delivered_is_carried_out(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn:
        lost = asked()
        keptn.open(lost)
        async with provider(tmp_path / "journal.db", keptn, GetSli, Greet):
            await keptn.task_finished(lost["id"])


async def test_a_task_of_a_lost_journal_is_answered(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn:
        begun = asked()
        keptn.open(begun)
        await begin(keptn, begun)
        async with provider(tmp_path / "journal.db", keptn, GetSli, answer_lost=True):
            await keptn.task_finished(begun["id"])
        assert keptn.finished(begun["id"])[0].data["status"] == "errored"


async def test_a_task_in_doubt_is_read_back(tmp_path: Path) -> None:
    """A `started` whose delivery is unknown is not sent twice."""
    async with FakeKeptn() as keptn:
        keptn.drop_next(counted=True, event_type=event_type("get-sli", "started"))
        async with provider(tmp_path / "journal.db", keptn, GetSli) as service:
            trigger = asked()
            await keptn.deliver(trigger, to=event_url(service))
            await keptn.task_finished(trigger["id"])


async def test_a_task_that_keptn_ended_is_aborted(tmp_path: Path) -> None:
    gate = Gate()
    async with FakeKeptn() as keptn:
        waiting = gated(gate, task="test")
        async with provider(tmp_path / "j.db", keptn, waiting, watch_seconds=0.05) as service:
            trigger = triggered("", task="test")
            await keptn.deliver(trigger, to=event_url(service))
            await gate.until_entered(1)
            keptn.abort(trigger["id"])
            await is_finished(service.journal, trigger["id"])
            record = await service.journal.record(trigger["id"])
        assert record
        assert record.status == "aborted"
        assert not keptn.finished(trigger["id"])


async def test_what_the_controller_does_not_track_is_not_given_up(tmp_path: Path) -> None:
    """Lighthouse triggers get-sli itself: Keptn shows it nowhere, and waits for it all the same."""
    journal, gate = tmp_path / "journal.db", Gate()
    async with FakeKeptn() as keptn:
        trigger = {**asked(), "source": "lighthouse-service"}
        cut_off = registry_of(gated(gate, task="get-sli"))
        async with running(settings(journal, keptn), cut_off) as service:
            await keptn.deliver(trigger, to=event_url(service))
            await gate.until_entered(1)
        async with provider(journal, keptn, GetSli):
            await keptn.task_finished(trigger["id"])
        assert keptn.finished(trigger["id"])[0].data["get-sli"]


class Unusable(Action):
    """Returns what its test puts in."""

    task = "test"
    details: dict[str, Any]

    async def run(self, context: Context, value: Any) -> Outcome:
        return Outcome("succeeded", "pass", "done", self.details)


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ({"a": float("nan")}, "Out of range float"),
        ({"a": object()}, "object"),
        ({"a": "x" * 20_000}, "20,008 bytes, and 20,000 are allowed"),
    ],
)
async def test_data_that_can_not_be_sent_whole_fails_the_task(
    details: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Unusable, "details", details, raising=False)
    outcome = await run_action(Unusable)
    assert (outcome.status, outcome.result) == ("errored", "fail")
    assert said in outcome.message


async def test_a_task_is_retried_like_an_action() -> None:
    class Flaky(Action):
        task = "test"

        async def run(self, context: Context, value: Any) -> Outcome:
            if context.attempt < 3:
                raise TemporaryError("not yet")
            return Outcome.passed("done", attempt=context.attempt)

    outcome = await run_action(Flaky)
    assert outcome.details == {"attempt": 3}
