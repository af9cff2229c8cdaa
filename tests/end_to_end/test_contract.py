"""The contract with Keptn, case by case, against a control plane that counts as Keptn does."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession

from keptn_remedy import Action, Change, Context, Outcome, PermanentError, Plan, Retry
from keptn_remedy.events import (
    FINISHED,
    LOG_ERROR,
    MAX_REPORT_BYTES,
    STARTED,
    TRIGGERED,
    stored_trigger,
)
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.service import Service
from keptn_remedy.testing import FakeKeptn, triggered
from keptn_remedy.testing.fake_keptn import Release
from tests.providing import (
    Dial,
    Gate,
    Greet,
    event_url,
    gated,
    get_json,
    get_text,
    ops_url,
    provider,
)
from tests.roads import Road, every_road, every_sending_road
from tests.waiting import until

RELEASES: tuple[Release, ...] = ("0.8", "0.14", "0.19", "1.4")
RECORDED = Path(__file__).parents[1] / "events"


class Fail(Action):
    """Fails as it is told."""

    name = "fail"
    retry = Retry(attempts=1)
    Value = dict[str, Any]

    async def run(self, context: Context, value: dict[str, Any]) -> Outcome:
        if "errored" in value:
            raise PermanentError(value["errored"])
        if "bug" in value:
            raise RuntimeError(value["bug"])
        return Outcome.failed(value.get("failed", "it did not help"))


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@every_road
@pytest.mark.parametrize("release", RELEASES)
async def test_a_trigger_is_answered_by_one_started_and_one_finished(
    journal: Path, release: Release, road: Road
) -> None:
    async with road.keptn(release) as keptn, provider(journal, keptn, Greet) as service:
        event = triggered("greet", {"name": "Ada"})
        await keptn.deliver(event, to=event_url(service))
        outcome = await keptn.task_finished(event["id"])
        assert (outcome.status, outcome.result, outcome.goes_on) == ("succeeded", "pass", True)
        [started], [finished] = keptn.started(event["id"]), keptn.finished(event["id"])
        assert started.source == finished.source == "keptn-remedy"
        assert finished.data["message"] == "hello Ada"
        assert finished.data["action"] == {"status": "succeeded", "result": "pass"}
        assert finished.data["remedy"]["greeted"] == {"name": "Ada"}
        assert finished.data["remedy"]["execution"] == event["id"]


@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize(
    ("value", "status"), [({"failed": "no effect"}, "succeeded"), ({"errored": "no"}, "errored")]
)
async def test_a_failure_stops_the_sequence_in_every_release(
    journal: Path, release: Release, value: dict[str, str], status: str, road: Road
) -> None:
    async with road.keptn(release) as keptn, provider(journal, keptn, Fail) as service:
        event = triggered("fail", value)
        await keptn.deliver(event, to=event_url(service))
        outcome = await keptn.task_finished(event["id"])
        assert (outcome.status, outcome.result, outcome.goes_on) == (status, "fail", False)


@pytest.mark.parametrize("name", ["unknown-action", "", "greetings"])
async def test_what_is_not_ours_is_met_with_silence(journal: Path, name: str, road: Road) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet) as service:
        event = triggered(name)
        await keptn.deliver(event, to=event_url(service))
        await until(lambda: _was_answered(service, "ignored", times=1))
        await _one_more(keptn, event_url(service))
        assert {received.triggeredid for received in keptn.received}.isdisjoint({event["id"]})


@pytest.mark.parametrize(
    "spelling", ["greet", "GREET", " Greet ", "g-re_et", "say-hello", "sayhello", "SAY_HELLO"]
)
async def test_action_names_are_compared_without_case_hyphens_and_underscores(
    journal: Path, spelling: str, road: Road
) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet) as service:
        event = triggered(spelling, {})
        await keptn.deliver(event, to=event_url(service))
        await keptn.task_finished(event["id"])


@every_sending_road
@pytest.mark.parametrize("side_by_side", [False, True])
async def test_a_trigger_delivered_many_times_runs_once(
    journal: Path, side_by_side: bool, road: Road
) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet) as service:
        event = triggered("greet", {})
        copies = [
            {**event, "data": {**event["data"], "temporaryData": {"subscriptionID": n}}}
            for n in range(20)
        ]
        if side_by_side:
            await asyncio.gather(*(keptn.deliver(copy, to=event_url(service)) for copy in copies))
        else:
            for copy in copies:
                await keptn.deliver(copy, to=event_url(service))
        await until(lambda: _was_answered(service, "duplicate", times=19))
        await keptn.task_finished(event["id"])
    assert Greet.greeted == [event["id"]]


@every_sending_road
async def test_a_duplicate_after_a_restart_is_still_known(journal: Path, road: Road) -> None:
    event = triggered("greet", {})
    async with road.keptn("1.4") as keptn:
        async with provider(journal, keptn, Greet) as service:
            await keptn.deliver(event, to=event_url(service))
            await keptn.task_finished(event["id"])
        async with provider(journal, keptn, Greet) as service:
            await keptn.deliver(event, to=event_url(service))
            await until(lambda: _was_answered(service, "duplicate", times=1))


async def test_the_outcome_of_the_task_before_is_never_inherited(journal: Path, road: Road) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet) as service:
        event = triggered("greet", {}, result="fail", status="errored", message="of another task")
        await keptn.deliver(event, to=event_url(service))
        assert (await keptn.task_finished(event["id"])).result == "pass"


async def test_nothing_but_the_scope_and_the_labels_is_echoed(journal: Path, road: Road) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet) as service:
        event = triggered(
            "greet", {}, labels={"Problem URL": "http://x"}, deployment={"deploymentNames": ["a"]},
            evaluation={"score": 33.3}, temporaryData={"distributor": {"subscriptionID": "s"}},
        )  # fmt: skip
        await keptn.deliver(event, to=event_url(service))
        await keptn.task_finished(event["id"])
        scope = {"project", "stage", "service", "labels"}
        assert set(keptn.started(event["id"])[0].data) == scope
        finished = keptn.finished(event["id"])[0]
        assert set(finished.data) == scope | {"status", "result", "message", "remedy", "action"}
        assert finished.data["labels"] == {"Problem URL": "http://x"}


async def test_labels_that_are_no_text_are_reported_as_text(journal: Path, road: Road) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet) as service:
        event = triggered("greet", {}, labels={"retries": 3, "deep": {"a": True}})
        await keptn.deliver(event, to=event_url(service))
        await keptn.task_finished(event["id"])
        for report in (keptn.started(event["id"])[0], keptn.finished(event["id"])[0]):
            assert report.data["labels"] == {"retries": "3", "deep": '{"a":true}'}


async def test_an_event_of_the_polled_form_is_taken(journal: Path, road: Road) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet) as service:
        event = triggered("greet", labels=None)
        event["contenttype"] = event.pop("datacontenttype")
        await keptn.deliver(event, to=event_url(service))
        await keptn.task_finished(event["id"])
        assert keptn.finished(event["id"])[0].data["labels"] == {}


async def test_keptn_0_7_is_answered_in_its_own_words(journal: Path, road: Road) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Fail) as service:
        event = triggered("fail", {"errored": "no"})
        del event["datacontenttype"], event["shkeptnspecversion"]
        event |= {"specversion": "0.2", "contenttype": "application/json"}
        await keptn.deliver(event, to=event_url(service))
        await keptn.wait_until(lambda: bool(keptn.finished(event["id"])))
        answer = orjson.loads(keptn.finished(event["id"])[0].body)
        assert (answer["specversion"], answer["contenttype"]) == ("0.2", "application/json")
        assert answer["data"]["action"] == {"status": "errored", "result": "failed"}


@pytest.mark.parametrize(
    "value", [{"errored": "it broke"}, {"bug": "it broke"}, "text instead of a map"]
)
async def test_whatever_the_action_does_a_finished_follows(
    journal: Path, value: Any, road: Road
) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Fail) as service:
        event = triggered("fail", value)
        await keptn.deliver(event, to=event_url(service))
        assert (await keptn.task_finished(event["id"])).status == "errored"


async def test_an_action_that_hangs_is_finished_as_errored(journal: Path, road: Road) -> None:
    gate = Gate()
    hang = gated(gate, timeout=0.01, retry=Retry(attempts=1))
    async with road.keptn("1.4") as keptn, provider(journal, keptn, hang) as service:
        event = triggered("wait")
        await keptn.deliver(event, to=event_url(service))
        assert (await keptn.task_finished(event["id"])).status == "errored"
        assert keptn.finished(event["id"])[0].data["message"] == "no end within 0.01 s"


async def test_the_answer_comes_while_the_action_still_runs(journal: Path, road: Road) -> None:
    gate = Gate()
    async with road.keptn("1.4") as keptn, provider(journal, keptn, gated(gate)) as service:
        event = triggered("wait")
        await keptn.deliver(event, to=event_url(service))
        await keptn.wait_until(lambda: bool(keptn.started(event["id"])))
        assert not keptn.finished(event["id"])
        gate.open()
        await keptn.task_finished(event["id"])


async def test_actions_for_one_service_run_one_after_the_other(journal: Path, road: Road) -> None:
    gate = Gate()
    async with road.keptn("1.4") as keptn, provider(journal, keptn, gated(gate), Greet) as service:
        first, second = triggered("wait"), triggered("greet", {})
        other = triggered("greet", {}, service="orders")
        for event in (first, second, other):
            await keptn.deliver(event, to=event_url(service))
        await keptn.task_finished(other["id"])
        assert not keptn.events_of(second["id"])
        gate.open()
        for event in (first, second):
            await keptn.task_finished(event["id"])
        assert gate.most_at_once == 1


async def test_a_sidecar_that_refuses_then_errs_then_answers_gets_each_report_once(
    journal: Path,
) -> None:
    async with FakeKeptn() as keptn, provider(journal, keptn, Greet) as service:
        event = triggered("greet", {})
        await keptn.stop_listening()
        keptn.answer_next(500)
        await _post(event_url(service), event)
        await _until_undelivered(ops_url(service, f"/api/executions/{event['id']}"))
        keptn.open(event)
        await keptn.listen()
        await keptn.task_finished(event["id"], timeout=20)
        assert len(keptn.started(event["id"])) == len(keptn.finished(event["id"])) == 1


@every_road
@pytest.mark.parametrize("report", [STARTED, FINISHED])
@pytest.mark.parametrize("counted", [True, False])
async def test_a_report_cut_off_is_repeated_only_if_keptn_did_not_count_it(
    journal: Path, report: str, counted: bool, road: Road
) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet) as service:
        keptn.drop_next(counted=counted, event_type=report)
        event = triggered("greet", {})
        await keptn.deliver(event, to=event_url(service))
        await keptn.task_finished(event["id"], timeout=20)
        await _until_told(ops_url(service, f"/api/executions/{event['id']}"))
        assert len(keptn.started(event["id"])) == len(keptn.finished(event["id"])) == 1


async def test_where_only_the_open_list_answers_a_counted_finished_is_not_repeated(
    journal: Path,
) -> None:
    async with FakeKeptn("0.14") as keptn, provider(journal, keptn, Greet) as service:
        keptn.drop_next(counted=True, event_type=FINISHED)
        event = triggered("greet", {})
        await keptn.deliver(event, to=event_url(service))
        await _until_told(ops_url(service, f"/api/executions/{event['id']}"))
        assert len(keptn.finished(event["id"])) == 1


@every_sending_road
async def test_where_nothing_can_be_asked_a_report_is_repeated_with_the_same_id(
    journal: Path, road: Road
) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet) as service:
        keptn.api_status = 404
        keptn.drop_next(counted=True, event_type=FINISHED)
        event = triggered("greet", {})
        keptn.expect_unanswered(event["id"])
        await keptn.deliver(event, to=event_url(service))
        await _until_told(ops_url(service, f"/api/executions/{event['id']}"))
        ids = {r.id for r in keptn.received if r.type == FINISHED}
        assert len(ids) == 1


@every_sending_road
@pytest.mark.parametrize("report", [STARTED, FINISHED])
async def test_while_keptn_cannot_say_what_it_counted_nothing_is_repeated(
    journal: Path, report: str, road: Road
) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Greet) as service:
        keptn.api_status = 503
        keptn.drop_next(counted=True, event_type=report)
        event = triggered("greet", {})
        await keptn.deliver(event, to=event_url(service))
        asked_in_vain = 3
        await _until_undelivered(ops_url(service, f"/api/executions/{event['id']}"), asked_in_vain)
        keptn.api_status = None
        await _until_told(ops_url(service, f"/api/executions/{event['id']}"))
        assert len(keptn.started(event["id"])) == len(keptn.finished(event["id"])) == 1


async def test_a_huge_message_is_cut_below_the_limit(journal: Path, road: Road) -> None:
    async with road.keptn("1.4") as keptn, provider(journal, keptn, Fail) as service:
        event = triggered("fail", {"failed": "x" * 200_000})
        await keptn.deliver(event, to=event_url(service))
        await keptn.task_finished(event["id"])
        assert all(len(received.body) <= MAX_REPORT_BYTES for received in keptn.received)


@pytest.mark.parametrize("mode", ["binary", "binary charset"])
async def test_a_binary_mode_event_is_taken(journal: Path, mode: str) -> None:
    async with FakeKeptn() as keptn, provider(journal, keptn, Greet) as service:
        event = triggered("greet", {})
        keptn.open(event)
        headers = {
            "Content-Type": "application/json" + ("; charset=utf-8" if "charset" in mode else ""),
            **{f"ce-{n}": v for n, v in event.items() if n not in ("data", "datacontenttype")},
        }
        async with (
            ClientSession() as session,
            session.post(
                event_url(service), data=orjson.dumps(event["data"]), headers=headers
            ) as answer,
        ):
            assert answer.status == 202
        await keptn.task_finished(event["id"])


async def test_a_batch_is_refused(journal: Path) -> None:
    async with FakeKeptn() as keptn, provider(journal, keptn, Greet) as service:
        for content_type in ("application/cloudevents-batch+json", "application/cloudevents+json"):
            status, problem = await _post(
                event_url(service), [triggered("greet", {})], content_type
            )
            assert status == 415
            assert "batch" in problem["title"]


@every_road
async def test_every_report_is_well_formed_to_the_byte(journal: Path, road: Road) -> None:
    async with (
        road.keptn("1.4") as keptn,
        provider(journal, keptn, Greet, Fail, error_log="always") as service,
    ):
        for event in (triggered("greet", {}), triggered("fail", {"errored": "no"})):
            await keptn.deliver(event, to=event_url(service))
            await keptn.task_finished(event["id"])
        entries = 1 + road.makes_log_entries
        await keptn.wait_until(lambda: len(keptn.log_entries) == entries)
        for received in keptn.received:
            assert b"null" not in received.body
            event = orjson.loads(received.body)
            assert event["specversion"] == "1.0"
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z", event["time"])
            assert event["datacontenttype"] == "application/json"
            assert not {"problem", "temporaryData", "deployment"} & set(event["data"])


@pytest.mark.parametrize(
    ("setting", "value", "entries"),
    [
        ("always", {"errored": "no"}, 1),
        ("auto", {"errored": "no"}, 0),
        ("never", {"errored": "no"}, 0),
        ("always", {"failed": "no"}, 1),
        ("auto", {"failed": "no"}, 1),
        ("never", {"failed": "no"}, 0),
    ],
)
async def test_a_failure_is_logged_in_keptn_as_the_setting_says(
    journal: Path, setting: str, value: dict[str, str], entries: int
) -> None:
    async with FakeKeptn() as keptn:
        async with provider(journal, keptn, Fail, error_log=setting) as service:
            event = triggered("fail", value)
            await keptn.deliver(event, to=event_url(service))
            await keptn.task_finished(event["id"])
        logged = [r for r in keptn.received if r.type == LOG_ERROR]
        assert len(logged) == entries
        for entry in logged:
            assert entry.data["task"] == "action"
            assert entry.triggeredid == event["id"]
            assert event["id"] in entry.data["message"]


async def test_a_dry_run_plans_reports_and_changes_nothing(journal: Path) -> None:
    async with FakeKeptn() as keptn, provider(journal, keptn, Dial, dry_run=True) as service:
        event = triggered("dial", 7)
        await keptn.deliver(event, to=event_url(service))
        assert (await keptn.task_finished(event["id"])).result == "warning"
        message = keptn.finished(event["id"])[0].data["message"]
        assert message == "dry run: dial number: 0 -> 7"
    assert Dial.state == {}


async def test_planned_actions_of_two_services_on_one_target_run_in_turn_and_plan_again(
    journal: Path,
) -> None:
    gate, plans = Gate(), list[Any]()

    class HeldDial(Dial):
        name = "held-dial"

        async def apply(self, context: Context, plan: Any) -> None:
            plans.append(plan.changes[0])
            await gate.passage(context.trigger.id)
            await super().apply(context, plan)

    async with FakeKeptn() as keptn, provider(journal, keptn, HeldDial) as service:
        first, second = triggered("held-dial", 1), triggered("held-dial", 2, service="orders")
        await keptn.deliver(first, to=event_url(service))
        await gate.until_entered(1)
        await keptn.deliver(second, to=event_url(service))
        await keptn.wait_until(lambda: bool(keptn.started(second["id"])))
        gate.open()
        for event in (first, second):
            await keptn.task_finished(event["id"])
    assert [(change.before, change.after) for change in plans] == [(0, 1), (1, 2)]
    assert gate.most_at_once == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [(path, path.read_bytes()) for path in sorted(RECORDED.glob("*.json"))],
    ids=lambda part: part.stem if isinstance(part, Path) else "",
)
async def test_recorded_events_are_answered_or_ignored(
    journal: Path, path: Path, body: bytes
) -> None:
    class Anything(Action):
        name = "scaling"
        aliases = ("rollback", "toggle-feature", "featuretoggle")
        Value = Any

        async def run(self, context: Context, value: Any) -> Outcome:
            return Outcome.passed("done")

    event = orjson.loads(body)
    async with FakeKeptn() as keptn, provider(journal, keptn, Anything) as service:
        if event["type"] != TRIGGERED:
            status, answer = await _post(event_url(service), event)
            assert (status, set(answer)) == (200, {"ignored"})
            return
        assert (await keptn.deliver(path, to=event_url(service))).status == 202
        await keptn.wait_until(lambda: bool(keptn.finished(event["id"])))


async def _one_more(keptn: FakeKeptn, url: str) -> None:
    """Whatever was to be sent for earlier events has been sent once this one is answered."""
    event = triggered("greet", {})
    await keptn.deliver(event, to=url)
    await keptn.task_finished(event["id"])


async def _was_answered(service: Service, answer: str, *, times: int) -> bool:
    """Whether that many events were received with this answer."""
    line = f'remedy_events_received_total{{answer="{answer}"}} {times}.0'
    return line in (await get_text(ops_url(service, "/metrics"))).splitlines()


async def _post(
    url: str, event: Any, content_type: str = "application/cloudevents+json"
) -> tuple[int, Any]:
    async with (
        ClientSession() as session,
        session.post(
            url, data=orjson.dumps(event), headers={"Content-Type": content_type}
        ) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def _until_undelivered(url: str, attempts: int = 1) -> None:
    async def undelivered() -> bool:
        reports = (await get_json(url)).get("undelivered", ())
        return any(report["attempts"] >= attempts for report in reports)

    await until(undelivered)


async def _until_told(url: str) -> None:
    async def told() -> bool:
        return bool((await get_json(url)).get("reported_at"))

    await until(told)


async def test_a_cut_off_plan_that_waits_for_its_turn_keeps_others_from_its_target(
    journal: Path,
) -> None:
    gate = Gate()
    first, cut_off = triggered("wait"), triggered("dial", 1)
    other = triggered("dial", 2, service="orders")
    earlier = SqliteJournal.open(journal)
    for event in (first, cut_off, other):
        execution = await earlier.accept(stored_trigger(orjson.dumps(event)), event_action(event))
        if execution and event is cut_off:
            plan = Plan((Change("dial", "number", 0, 1),))
            await earlier.admit(execution, plan, [], lambda history: None)
    await earlier.close()
    async with FakeKeptn() as keptn:
        for event in (first, cut_off, other):
            keptn.open(event)
        async with provider(journal, keptn, gated(gate), Dial):
            await gate.until_entered(1)
            await until(lambda: "plan" in Dial.log)
            gate.open()
            for event in (first, cut_off, other):
                await keptn.task_finished(event["id"])
    assert Dial.state == {"dial": 2}


def event_action(event: dict[str, Any]) -> str:
    name: str = event["data"]["action"]["action"]
    return name
