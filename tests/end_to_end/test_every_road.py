"""What was seen of a real control plane, and what isn't an action, on every way to Keptn."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest

from keptn_remedy import Action, Context, Outcome, events
from keptn_remedy.testing import triggered
from keptn_remedy.testing.fake_keptn import Endpoint
from tests.end_to_end.test_contract import Fail
from tests.end_to_end.test_tasks import INDICATORS, GetSli, asked
from tests.providing import Gate, Greet, event_url, gated, provider
from tests.roads import Road, every_road, every_sending_road
from tests.waiting import is_finished, until


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


class Notice(Action):
    """Receives triggers, and the ends of sequences, and answers nothing."""

    name = "notice"
    subscriptions: ClassVar[tuple[str, ...]] = (
        events.TRIGGERED,
        "sh.keptn.event.*.remediation.finished",
    )
    Value = dict[str, Any]

    async def run(self, context: Context, value: dict[str, Any]) -> Outcome:
        return Outcome.passed("noticed")


# Keptn 1.4.5


@every_road
async def test_a_trigger_too_large_for_nats_is_taken_from_the_list(
    journal: Path, road: Road
) -> None:
    """Keptn stores and lists it, and never sends it."""
    event = triggered("greet", {}, deployment={"notes": "x" * 1024**2})
    async with road.keptn("1.4") as keptn:
        keptn.open(event)
        async with provider(journal, keptn, Greet):
            assert (await keptn.task_finished(event["id"])).result == "pass"


@every_road
async def test_lists_of_more_than_a_page_without_keys_and_totals_are_read_as_a_whole(
    journal: Path, road: Road
) -> None:
    """A page has 20 events. The last one has no key, an empty list no total."""
    missed = [triggered("greet", {}, service=f"service-{number}") for number in range(25)]
    async with road.keptn("1.4") as keptn:
        for event in missed:
            keptn.open(event)
        async with provider(journal, keptn, Greet):
            for event in missed:
                await keptn.task_finished(event["id"])


@every_road
async def test_an_empty_list_aborts_nothing_that_runs(journal: Path, road: Road) -> None:
    gate = Gate()
    async with (
        road.keptn("1.4") as keptn,
        provider(journal, keptn, gated(gate), watch_seconds=0.05) as service,
    ):
        event = triggered("wait")
        await keptn.deliver(event, to=event_url(service))
        await gate.until_entered(1)
        keptn.answer_empty_at("triggered")
        asked = len(keptn.asked)
        await until(lambda: len(keptn.asked) > asked + 5)
        gate.open()
        assert (await keptn.task_finished(event["id"])).result == "pass"


@every_road
async def test_an_api_that_closes_every_connection_loses_nothing(journal: Path, road: Road) -> None:
    """After an outage of NATS Keptn's api-service answers nothing until it is restarted."""
    endpoints: tuple[Endpoint, ...] = ("triggered", "sequence-execution", "log", "uniform")
    event = triggered("greet", {})
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet) as service:
        for each in endpoints:
            keptn.hang_up_at(each)
        keptn.drop_next(counted=False, event_type=events.STARTED)
        asked = len(keptn.asked)
        await keptn.deliver(event, to=event_url(service))
        await until(lambda: len(keptn.asked) > asked)
        assert not keptn.finished(event["id"])
        for each in endpoints:
            keptn.recover(each)
        assert (await keptn.task_finished(event["id"])).result == "pass"


@every_road
@pytest.mark.parametrize("value", [{"errored": "no"}, {"failed": "no"}])
async def test_a_failure_is_in_keptns_log_once(
    journal: Path, value: dict[str, str], road: Road
) -> None:
    """Keptn makes no entry of a `log.error` that is posted as an event."""
    event = triggered("fail", value)
    async with road.keptn("1.4") as keptn:
        async with provider(journal, keptn, Fail) as service:
            await keptn.deliver(event, to=event_url(service))
            await keptn.task_finished(event["id"])
        assert [entry.triggeredid for entry in keptn.log_entries] == [event["id"]]


@every_road
async def test_a_registration_that_expires_loses_no_trigger(journal: Path, road: Road) -> None:
    """Keptn forgets the Bridge's subscriptions with it: it is made again with those known last."""
    event = triggered("greet", {})
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet) as service:
        keptn.integrations.clear()
        if service.uniform:  # else the distributor registers
            await service.uniform.beat()
            (again,) = keptn.integrations.values()
            assert [each["event"] for each in again.subscriptions] == [events.TRIGGERED]
        await keptn.deliver(event, to=event_url(service))
        assert (await keptn.task_finished(event["id"])).result == "pass"


# Other tasks, and subscribers


@every_road
async def test_another_task_is_answered_with_its_own_events_and_data(
    journal: Path, road: Road
) -> None:
    trigger = asked()
    async with road.keptn("1.4") as keptn, provider(journal, keptn, GetSli, Greet) as service:
        await keptn.deliver(trigger, to=event_url(service))
        await keptn.task_finished(trigger["id"])
        kinds = [event.type for event in keptn.events_of(trigger["id"])]
        assert kinds == ["sh.keptn.event.get-sli.started", "sh.keptn.event.get-sli.finished"]
        data = keptn.finished(trigger["id"])[0].data
        assert data["get-sli"] == {"indicatorValues": INDICATORS, "attempt": 1}


@every_road
async def test_another_task_in_doubt_is_read_back(journal: Path, road: Road) -> None:
    trigger = asked()
    async with road.keptn("1.4") as keptn, provider(journal, keptn, GetSli) as service:
        keptn.drop_next(counted=True, event_type="sh.keptn.event.get-sli.started")
        await keptn.deliver(trigger, to=event_url(service))
        await keptn.task_finished(trigger["id"])


@every_road
async def test_a_trigger_is_passed_on_to_a_subscriber_which_answers_nothing(
    journal: Path, road: Road
) -> None:
    trigger = triggered("greet", {})
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet, Notice) as service:
        await keptn.deliver(trigger, to=event_url(service))
        await is_finished(service.journal, _copy(trigger))
        await keptn.task_finished(trigger["id"])
        assert len(keptn.events_of(trigger["id"])) == 2


@every_sending_road
async def test_the_end_of_a_sequence_is_passed_on_to_a_subscriber(
    journal: Path, road: Road
) -> None:
    trigger = triggered("greet", {})
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet, Notice) as service:
        await keptn.deliver(trigger, to=event_url(service))
        await keptn.task_finished(trigger["id"])
        end = keptn.sequence_finished(trigger["id"])
        await keptn.deliver(end, to=event_url(service))
        await until(lambda: _is_known(service, _copy(end)))
        await is_finished(service.journal, _copy(end))


def _copy(event: dict[str, Any]) -> str:
    """The id of the copy that the subscriber receives."""
    return events.for_subscriber(events.read_structured(orjson.dumps(event)), "notice").id


async def _is_known(service: Any, execution: str) -> bool:
    return await service.journal.record(execution) is not None
