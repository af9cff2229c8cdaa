"""FakeKeptn counts as each release does, and notices broken promises."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import ClientConnectorError, ClientSession, ServerDisconnectedError

from keptn_remedy.events import FINISHED, STARTED, TRIGGERED, Replies, stored_trigger
from keptn_remedy.testing.fake_keptn import FakeKeptn, Release
from keptn_remedy.testing.http_peer import http_peer

NOW = datetime(2023, 4, 11, 8, 15, 30, tzinfo=UTC)
OPEN_LIST = f"/controlPlane/v1/event/triggered/{TRIGGERED}"
ALL: list[Release] = ["0.8", "0.14", "0.19", "1.4"]
COUNTING: list[Release] = ["0.14", "0.19", "1.4"]

Event = dict[str, Any]


def triggered(trigger_id: str = "t1", **scope: str) -> Event:
    return {
        "specversion": "1.0",
        "id": trigger_id,
        "source": "shipyard-controller",
        "type": TRIGGERED,
        "datacontenttype": "application/json",
        "time": "2023-04-11T08:15:04.731Z",
        "shkeptncontext": f"context of {trigger_id}",
        "triggeredid": "",
        "gitcommitid": "",
        "data": {
            "project": "webshop",
            "stage": "prod",
            "service": "checkout",
            "labels": {"team": "blue"},
            "action": {"action": "scaling", "value": "2"},
            **scope,
        },
    }


def started(trigger: Event, source: str = "us") -> Event:
    report = Replies(source).started(stored_trigger(orjson.dumps(trigger)), NOW)
    return orjson.loads(report.body)  # type: ignore[no-any-return]


def finished(
    trigger: Event, source: str = "us", status: str = "succeeded", result: str = "pass"
) -> Event:
    report = Replies(source).finished(
        stored_trigger(orjson.dumps(trigger)),
        NOW,
        status=status,
        result=result,
        message="scaled",
        details={"before": "1"},
    )
    return orjson.loads(report.body)  # type: ignore[no-any-return]


def error_log(trigger: Event | None) -> Event:
    parsed = stored_trigger(orjson.dumps(trigger)) if trigger else None
    return orjson.loads(Replies("us").error_log(parsed, NOW, "it broke").body)  # type: ignore[no-any-return]


def with_data(event: Event, **data: Any) -> Event:
    return {**event, "data": {**event["data"], **data}}


def without_data(event: Event, *names: str) -> Event:
    return {**event, "data": {k: v for k, v in event["data"].items() if k not in names}}


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession() as client:
        yield client


@pytest.fixture
async def keptn() -> AsyncIterator[FakeKeptn]:
    async with FakeKeptn() as keptn:
        yield keptn


async def post(client: ClientSession, keptn: FakeKeptn, *events: Event | bytes) -> list[int]:
    statuses: list[int] = []
    for event in events:
        body = event if isinstance(event, bytes) else orjson.dumps(event)
        async with client.post(keptn.event_url, data=body) as answer:
            assert await answer.read() == b""
            statuses.append(answer.status)
    return statuses


async def get(client: ClientSession, keptn: FakeKeptn, path: str, **query: str) -> Any:
    async with client.get(keptn.url + path, params=query) as answer:
        assert answer.status == 200
        return await answer.json()


async def status_of(client: ClientSession, keptn: FakeKeptn, path: str, **query: str) -> int:
    async with client.get(keptn.url + path, params=query) as answer:
        return answer.status


async def executions(client: ClientSession, keptn: FakeKeptn, trigger: Event) -> Any:
    query = {"project": "webshop", "keptnContext": trigger["shkeptncontext"]}
    return await get(client, keptn, "/controlPlane/v1/sequence-execution", **query)


async def answer_a_task(client: ClientSession, *events: Event) -> None:
    async with FakeKeptn() as keptn:
        keptn.open(triggered())
        await post(client, keptn, *events)


# A task that is answered well


@pytest.mark.parametrize("release", ALL)
async def test_one_started_and_one_finished_complete_a_task_in_every_release(
    release: Release, client: ClientSession
) -> None:
    async with FakeKeptn(release) as keptn:
        trigger = triggered()
        keptn.open(trigger)
        assert await post(client, keptn, started(trigger), finished(trigger)) == [200, 200]
        outcome = await keptn.task_finished("t1")
    assert (outcome.status, outcome.result, outcome.goes_on) == ("succeeded", "pass", True)
    assert keptn.violations == []


async def test_it_delivers_as_the_distributor_does(keptn: FakeKeptn) -> None:
    async with http_peer() as receiver:
        receiver.answer(200, json={"ignored": "not ours"})
        answer = await keptn.deliver(triggered(), to=receiver.url)
    [request] = receiver.requests
    assert (answer.status, answer.json) == (200, {"ignored": "not ours"})
    assert (request.method, request.headers["Content-Type"]) == (
        "POST",
        "application/cloudevents+json",
    )
    assert request.json == triggered()


async def test_it_delivers_the_bytes_of_a_file(keptn: FakeKeptn, tmp_path: Path) -> None:
    file = tmp_path / "event.json"
    file.write_bytes(orjson.dumps(triggered(), option=orjson.OPT_INDENT_2))
    async with http_peer() as receiver:
        await keptn.deliver(file, to=receiver.url)
    assert receiver.requests[0].body == file.read_bytes()


async def test_it_delivers_what_triggers_no_task(keptn: FakeKeptn, client: ClientSession) -> None:
    async with http_peer() as receiver:
        await keptn.deliver(b"{", to=receiver.url)
        await keptn.deliver({**triggered(), "type": "sh.keptn.events.problem"}, to=receiver.url)
    assert len(receiver.requests) == 2
    assert (await get(client, keptn, OPEN_LIST))["events"] == []


async def test_a_trigger_delivered_twice_is_one_task(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    async with http_peer() as receiver:
        receiver.answer(202)
        await keptn.deliver(trigger, to=receiver.url)
        await keptn.deliver(trigger, to=receiver.url)
    await post(client, keptn, started(trigger), finished(trigger))
    assert (await executions(client, keptn, trigger))["totalCount"] == 1


async def test_delivering_to_a_closed_port_raises(keptn: FakeKeptn) -> None:
    async with http_peer() as receiver:
        pass
    with pytest.raises(ClientConnectorError):
        await keptn.deliver(triggered(), to=receiver.url)


def test_a_trigger_that_keptn_would_not_send_is_not_opened() -> None:
    with pytest.raises(ValueError, match="not send this as the trigger of a task"):
        FakeKeptn().open(triggered(project=""))


async def test_a_legacy_trigger_is_answered_in_its_own_version(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = {**triggered(), "specversion": "0.2", "contenttype": "application/json"}
    del trigger["datacontenttype"]
    keptn.open(trigger)
    await post(client, keptn, started(trigger), finished(trigger))
    assert keptn.is_complete("t1")


async def test_events_are_kept_byte_for_byte(keptn: FakeKeptn, client: ClientSession) -> None:
    trigger = triggered()
    keptn.open(trigger)
    body = orjson.dumps(started(trigger), option=orjson.OPT_INDENT_2)
    await post(client, keptn, body, finished(trigger))
    first, second = keptn.received
    assert first.body == body
    assert (first.type, first.source, first.triggeredid) == (STARTED, "us", "t1")
    assert first.id == started(trigger)["id"]
    assert second.data["result"] == "pass"
    assert first.at <= second.at
    assert keptn.events_of("t1") == [first, second]
    assert (keptn.started("t1"), keptn.finished("t1")) == ([first], [second])


async def test_thousands_of_tasks_of_one_context_are_counted(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    triggers = [{**triggered(f"t{n}"), "shkeptncontext": "one"} for n in range(2_000)]
    for trigger in triggers:
        keptn.open(trigger)

    async def answer(trigger: Event) -> None:
        await post(client, keptn, started(trigger), finished(trigger))
        await keptn.task_finished(trigger["id"])

    await asyncio.gather(*map(answer, triggers))
    assert len(keptn.received) == 4_000


# What each release makes of status and result (docs/keptn.md#k15)


@pytest.mark.parametrize(
    ("status", "result", "goes_on_until_0_18", "goes_on_from_0_19"),
    [
        ("succeeded", "pass", True, True),
        ("succeeded", "warning", True, True),
        ("succeeded", "fail", False, False),
        ("succeeded", "failed", True, False),
        ("succeeded", "", True, False),
        ("succeeded", None, True, False),
        ("errored", "pass", False, False),
        ("aborted", "pass", True, True),
        ("unknown", "pass", True, False),
        (None, "pass", True, False),
    ],
)
@pytest.mark.parametrize("release", ALL)
async def test_each_release_reads_status_and_result_its_own_way(
    release: Release,
    status: str | None,
    result: str | None,
    goes_on_until_0_18: bool,
    goes_on_from_0_19: bool,
    client: ClientSession,
) -> None:
    wanted = goes_on_until_0_18 if release in ("0.8", "0.14") else goes_on_from_0_19
    trigger = triggered()
    given = {"status": status, "result": result}
    last = with_data(finished(trigger), **{k: v for k, v in given.items() if v is not None})
    last = without_data(last, *(k for k, v in given.items() if v is None))
    async with FakeKeptn(release) as keptn:
        keptn.open(trigger)
        await post(client, keptn, started(trigger), last)
        assert keptn.outcome("t1").goes_on is wanted
        keptn.violations.clear()


@pytest.mark.parametrize(
    ("results", "aggregate"),
    [(("pass", "warning"), "warning"), (("warning", "fail"), "fail"), (("pass", "pass"), "pass")],
)
async def test_several_executors_are_judged_by_the_worst(
    results: tuple[str, str], aggregate: str, keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.open(trigger)
    await post(client, keptn, started(trigger, "a"), started(trigger, "b"))
    await post(client, keptn, finished(trigger, "a", result=results[0]))
    assert not keptn.is_complete("t1")
    await post(client, keptn, finished(trigger, "b", result=results[1]))
    assert keptn.outcome("t1").result == aggregate


# The misbehaviour table (docs/keptn.md#k14)


async def is_stuck(
    release: Release, client: ClientSession, *events: Event, violation: str | None = None
) -> bool:
    async with FakeKeptn(release) as keptn:
        keptn.expect_unanswered(keptn.open(triggered()))
        if violation is not None:
            keptn.expect_violation(violation)
        assert await post(client, keptn, *events) == [200] * len(events)
        return not keptn.is_complete("t1")


@pytest.mark.parametrize("release", ALL)
async def test_a_started_without_a_finished_hangs(release: Release, client: ClientSession) -> None:
    assert await is_stuck(release, client, started(triggered()))


@pytest.mark.parametrize("release", ALL)
async def test_a_finished_without_a_started_never_completes(
    release: Release, client: ClientSession
) -> None:
    assert await is_stuck(release, client, finished(triggered()), violation="before any started")


@pytest.mark.parametrize("release", COUNTING)
async def test_the_order_does_not_matter_where_events_are_only_counted(
    release: Release, client: ClientSession
) -> None:
    events = (finished(triggered()), started(triggered()))
    assert not await is_stuck(release, client, *events, violation="before any started")


@pytest.mark.parametrize("release", ALL)
async def test_a_started_that_was_acknowledged_and_lost_is_no_broken_promise(
    release: Release, client: ClientSession
) -> None:
    async with FakeKeptn(release) as keptn:
        keptn.expect_unanswered(keptn.open(triggered()))
        keptn.answer_next(200, event_type=STARTED)
        events = started(triggered()), finished(triggered()), started(triggered())
        assert await post(client, keptn, *events) == [200] * 3
        assert not keptn.violations
        assert keptn.is_complete("t1") is (release in COUNTING)


@pytest.mark.parametrize("release", ALL)
async def test_two_started_and_one_finished_are_stuck(
    release: Release, client: ClientSession
) -> None:
    trigger = triggered()
    assert await is_stuck(release, client, started(trigger), started(trigger), finished(trigger))


@pytest.mark.parametrize("release", ALL)
async def test_a_late_second_finished_is_ignored(release: Release, client: ClientSession) -> None:
    trigger = triggered()
    async with FakeKeptn(release) as keptn:
        keptn.expect_unanswered(keptn.open(trigger))
        await post(client, keptn, started(trigger), finished(trigger))
        await post(client, keptn, finished(trigger, result="fail"))
        assert keptn.outcome("t1").result == "pass"
        assert len(keptn.finished("t1")) == 2


@pytest.mark.parametrize("release", ALL)
async def test_who_finishes_before_another_started_completes_the_task_alone(
    release: Release, client: ClientSession
) -> None:
    trigger = triggered()
    async with FakeKeptn(release) as keptn:
        keptn.open(trigger)
        await post(client, keptn, started(trigger, "a"), finished(trigger, "a"))
        await post(client, keptn, started(trigger, "b"), finished(trigger, "b", result="fail"))
        assert keptn.outcome("t1").result == "pass"


@pytest.mark.parametrize("release", ALL)
async def test_a_finished_for_an_unknown_trigger_is_ignored(
    release: Release, client: ClientSession
) -> None:
    trigger = triggered()
    wrong = {**finished(trigger), "triggeredid": "another"}
    assert await is_stuck(release, client, started(trigger), wrong)


async def test_another_source_is_stuck_in_0_8_alone(client: ClientSession) -> None:
    trigger = triggered()
    events = (started(trigger, "a"), finished(trigger, "b"))
    stuck = [
        await is_stuck(release, client, *events, violation="'b' sent no started") for release in ALL
    ]
    assert stuck == [True, False, False, False]


@pytest.mark.parametrize("release", ALL)
async def test_a_label_that_is_no_text_hangs_the_task(
    release: Release, client: ClientSession
) -> None:
    trigger = triggered()
    last = with_data(finished(trigger), labels={"replicas": 2})
    assert await is_stuck(release, client, started(trigger), last, violation="data.labels")


@pytest.mark.parametrize("release", ALL)
async def test_a_status_that_is_no_text_hangs_the_task(
    release: Release, client: ClientSession
) -> None:
    trigger = triggered()
    last = with_data(finished(trigger), status=True)
    assert await is_stuck(release, client, started(trigger), last, violation="data.status")


# What it finds wrong


@pytest.mark.parametrize(
    ("changes", "violation"),
    [
        ({"id": ""}, "id is missing"),
        ({"source": None}, "source is missing"),
        ({"time": ""}, "time is not an RFC 3339 time"),
        ({"time": "2023-04-11T08:15:04"}, "time is not an RFC 3339 time"),
        ({"time": "2023-04-11T08:15:04+02:00"}, "time is not in UTC"),
        ({"specversion": "0.3"}, "specversion"),
        ({"datacontenttype": None}, "content type"),
        ({"shkeptncontext": "another"}, "shkeptncontext"),
        ({"data": []}, "data is not an object"),
    ],
)
async def test_a_wrong_attribute_is_a_violation(
    changes: Mapping[str, Any], violation: str, keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.expect_unanswered(keptn.open(trigger))
    keptn.expect_violation(violation)
    assert await post(client, keptn, {**started(trigger), **changes}) == [200]


@pytest.mark.parametrize(
    ("changes", "violation"),
    [
        ({"service": ""}, "data.service is missing"),
        ({"stage": "dev"}, "data.stage differs from the trigger's"),
        ({"message": 1}, "data.message is not text"),
        ({"labels": None}, "more than text"),
        ({"result": "failed"}, "data.result is not pass"),
        ({"problem": {}}, "data.problem must not be sent"),
        ({"action": {"value": "2"}}, "data.action.value must not be sent"),
        ({"remedy": {"replicas": 2}}, "more than text"),
        ({"message": "x" * 40_000}, "bytes are over 32000"),
    ],
)
async def test_wrong_data_is_a_violation(
    changes: Mapping[str, Any], violation: str, keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.expect_unanswered(keptn.open(trigger))
    keptn.expect_violation(violation)
    changed = with_data(finished(trigger), **changes)
    assert await post(client, keptn, started(trigger), changed) == [200, 200]


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"specversion": "2.0"}', orjson.dumps(["x" * 70_000])]
)
async def test_what_the_sidecar_cannot_decode_gets_500(
    body: bytes, keptn: FakeKeptn, client: ClientSession
) -> None:
    keptn.expect_violation("not a structured CloudEvent")
    assert await post(client, keptn, body) == [500]
    assert keptn.received == []


async def test_an_event_over_64_kb_gets_500(keptn: FakeKeptn, client: ClientSession) -> None:
    keptn.expect_violation("over 64 KB")
    big = with_data(finished(triggered()), message="x" * 65_536)
    assert await post(client, keptn, big) == [500]


async def test_a_violation_fails_the_test(client: ClientSession) -> None:
    trigger = triggered()
    wrong = with_data(finished(trigger), result="failed")
    with pytest.raises(AssertionError, match=r"finished .*: data\.result is not pass"):
        await answer_a_task(client, started(trigger), wrong)


async def test_an_expected_violation_that_never_came_fails_the_test() -> None:
    keptn = FakeKeptn()
    keptn.expect_violation("data.labels")
    with pytest.raises(AssertionError, match=r"expected, but not seen: data\.labels"):
        keptn.check()


# The balance


async def test_a_task_that_was_accepted_but_not_answered_fails_the_test() -> None:
    async with http_peer() as receiver:
        receiver.answer(202)
        with pytest.raises(
            AssertionError, match="t1 was accepted with 202, but never got an answer"
        ):
            async with FakeKeptn() as keptn:
                await keptn.deliver(triggered(), to=receiver.url)


async def test_an_open_started_fails_the_test(client: ClientSession) -> None:
    with pytest.raises(AssertionError, match="t1 got 1 started and 0 finished from 'us'"):
        await answer_a_task(client, started(triggered()))


async def test_a_repeated_report_fails_the_test_although_its_id_is_the_same(
    client: ClientSession,
) -> None:
    trigger = triggered()
    with pytest.raises(AssertionError, match="t1 got 1 started and 2 finished from 'us'"):
        await answer_a_task(client, started(trigger), finished(trigger), finished(trigger))


async def test_silence_is_fine_for_a_task_that_was_not_accepted() -> None:
    async with http_peer() as receiver, FakeKeptn() as keptn:
        await keptn.deliver(triggered(), to=receiver.url)


async def test_a_task_that_keptn_ended_need_not_be_answered(client: ClientSession) -> None:
    async with FakeKeptn() as keptn:
        keptn.open(triggered())
        await post(client, keptn, started(triggered()))
        keptn.end_task("t1")
        assert (await get(client, keptn, OPEN_LIST))["events"] == []


async def test_an_answer_after_the_end_does_not_complete_the_task(client: ClientSession) -> None:
    trigger = triggered()
    async with FakeKeptn() as keptn:
        keptn.open(trigger)
        keptn.end_task("t1", "timedOut")
        await post(client, keptn, started(trigger), finished(trigger))
        assert not keptn.is_complete("t1")
        [execution] = (await executions(client, keptn, trigger))["sequenceExecutions"]
    assert execution["status"]["state"] == "timedOut"


async def test_a_failing_test_keeps_its_own_error() -> None:
    keptn = FakeKeptn()
    keptn.expect_violation("anything")
    with pytest.raises(ZeroDivisionError):
        async with keptn:
            raise ZeroDivisionError


# Waiting


async def test_waiting_for_a_task_ends_when_it_is_complete(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.open(trigger)
    waiting = asyncio.create_task(keptn.task_finished("t1"))
    await post(client, keptn, started(trigger))
    assert not waiting.done()
    await post(client, keptn, finished(trigger, status="errored", result="fail"))
    assert not (await waiting).goes_on


async def test_waiting_in_vain_tells_what_has_come(keptn: FakeKeptn, client: ClientSession) -> None:
    keptn.expect_unanswered(keptn.open(triggered()))
    await post(client, keptn, started(triggered()))
    with pytest.raises(TimeoutError, match=r"t1 is open after 0\.01 s; it got .*started from us"):
        await keptn.task_finished("t1", timeout=0.01)
    with pytest.raises(LookupError, match="not complete"):
        keptn.outcome("t1")


async def test_it_waits_for_any_condition(keptn: FakeKeptn, client: ClientSession) -> None:
    waiting = asyncio.create_task(keptn.wait_until(lambda: len(keptn.log_entries) == 2))
    await post(client, keptn, error_log(triggered()), error_log(None))
    await waiting


# The log


async def test_an_error_log_is_kept_and_never_counted(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.open(trigger)
    await post(client, keptn, started(trigger), error_log(trigger), finished(trigger))
    await post(client, keptn, error_log(None))
    first, second = keptn.log_entries
    assert (first.message, first.task, first.triggeredid) == ("it broke", "action", "t1")
    assert first.context == trigger["shkeptncontext"]
    assert (second.task, second.context, second.triggeredid) == ("", "", "")


async def test_an_errored_finished_makes_a_log_entry_of_its_own(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.open(trigger)
    last = finished(trigger, status="errored", result="fail")
    await post(client, keptn, started(trigger), last)
    [entry] = keptn.log_entries
    assert (entry.message, entry.task, entry.origin) == ("scaled", "action", "finished")


async def test_the_log_api_keeps_each_entry(keptn: FakeKeptn, client: ClientSession) -> None:
    entry = {"message": "it broke", "task": "action", "triggeredid": "t1", "shkeptncontext": "c"}
    async with client.post(f"{keptn.url}/controlPlane/v1/log", json={"logs": [entry]}) as answer:
        assert answer.status == 200
    assert [entry.message for entry in keptn.log_entries] == ["it broke"]
    assert keptn.log_entries[0].origin == "api"


# The open list (docs/keptn.md#k32)


async def test_the_open_list_holds_a_task_until_it_is_complete(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.open(trigger)
    await post(client, keptn, started(trigger))
    assert (await get(client, keptn, OPEN_LIST, project="webshop"))["totalCount"] == 1
    await post(client, keptn, finished(trigger))
    empty = {"events": [], "nextPageKey": "0"}
    assert await get(client, keptn, OPEN_LIST, project="webshop") == empty


async def test_the_open_list_speaks_keptns_own_json_model(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    keptn.open(triggered())
    [event] = (await get(client, keptn, OPEN_LIST))["events"]
    assert not event.keys() & {"contenttype", "datacontenttype", "triggeredid", "gitcommitid"}
    assert event["data"] == triggered()["data"]


async def test_the_open_list_is_filtered(keptn: FakeKeptn, client: ClientSession) -> None:
    keptn.open(triggered("t1"))
    keptn.open(triggered("t2", stage="dev"))
    keptn.open(triggered("t3", project="other", service="cart"))

    async def ids(**query: str) -> list[str]:
        events = (await get(client, keptn, OPEN_LIST, **query))["events"]
        return [event["id"] for event in events or ()]

    assert await ids() == ["t3", "t2", "t1"]
    assert await ids(project="webshop") == ["t2", "t1"]
    assert await ids(project="webshop", stage="dev") == ["t2"]
    assert await ids(service="cart") == ["t3"]
    assert await ids(eventID="t2") == ["t2"]
    assert await ids(eventID="t2", stage="prod") == []
    assert await ids(eventID="unknown") == []


async def test_the_open_list_of_another_type_is_empty(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    keptn.open(triggered())
    path = "/controlPlane/v1/event/triggered/sh.keptn.event.deployment.triggered"
    assert (await get(client, keptn, path))["events"] == []


async def test_a_page_holds_20_events_and_names_the_next(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    for n in range(45):
        keptn.open(triggered(f"t{n}"))
    pages = [await get(client, keptn, OPEN_LIST)]
    while pages[-1]["nextPageKey"] != "0":
        key = pages[-1]["nextPageKey"]
        pages.append(await get(client, keptn, OPEN_LIST, nextPageKey=key))
    assert [len(page["events"]) for page in pages] == [20, 20, 5]
    assert {page["totalCount"] for page in pages} == {45}


async def test_every_page_repeats_the_first_as_with_keptn(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    for n in range(3):
        keptn.open(triggered(f"t{n}"))
    page = await get(client, keptn, OPEN_LIST, pageSize="2", nextPageKey="2")
    assert [event["id"] for event in page["events"]] == ["t2"]
    whole = await get(client, keptn, OPEN_LIST, pageSize="1000")
    assert [event["id"] for event in whole["events"]] == ["t2", "t1", "t0"]


async def test_an_unknown_project_is_not_found(keptn: FakeKeptn, client: ClientSession) -> None:
    executions = "/controlPlane/v1/sequence-execution"
    assert await status_of(client, keptn, OPEN_LIST, project="unknown") == 404
    assert await status_of(client, keptn, executions, project="unknown") == 404
    assert await status_of(client, keptn, executions) == 400
    keptn.projects.add("unknown")
    assert await status_of(client, keptn, OPEN_LIST, project="unknown") == 200
    assert await status_of(client, keptn, executions, project="unknown") == 200


# sequence-execution (docs/keptn.md#k31)


async def test_a_sequence_execution_shows_what_was_counted(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.expect_unanswered(keptn.open(trigger))
    await post(client, keptn, started(trigger))
    answer = await executions(client, keptn, trigger)
    [execution] = answer["sequenceExecutions"]
    assert (answer["pageSize"], answer["totalCount"]) == (1, 1)
    assert "nextPageKey" not in answer
    assert execution["scope"]["keptnContext"] == trigger["shkeptncontext"]
    assert execution["status"] == {
        "state": "started",
        "stateBeforePause": "",
        "previousTasks": [],
        "currentTask": {
            "name": "action",
            "triggeredID": "t1",
            "events": [
                {
                    "eventType": STARTED,
                    "source": "us",
                    "result": "",
                    "status": "",
                    "time": "2023-04-11T08:15:30.000Z",
                    "properties": None,
                }
            ],
        },
    }


async def test_a_complete_task_has_moved_to_the_previous_ones(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.open(trigger)
    keptn.evaluate_afterwards()
    await post(client, keptn, started(trigger), finished(trigger, result="warning"))
    [execution] = (await executions(client, keptn, trigger))["sequenceExecutions"]
    status = execution["status"]
    assert status["previousTasks"] == [
        {"name": "action", "triggeredID": "t1", "result": "warning", "status": "succeeded"}
    ]
    assert (status["state"], status["currentTask"]["name"]) == ("started", "evaluation")
    keptn.end_sequence("t1")
    [execution] = (await executions(client, keptn, trigger))["sequenceExecutions"]
    assert execution["status"]["state"] == "finished"


async def test_a_failed_task_ends_its_sequence(keptn: FakeKeptn, client: ClientSession) -> None:
    trigger = triggered()
    keptn.open(trigger)
    await post(client, keptn, started(trigger), finished(trigger, result="fail"))
    [execution] = (await executions(client, keptn, trigger))["sequenceExecutions"]
    status = execution["status"]
    assert (status["state"], status["currentTask"]["triggeredID"]) == ("finished", "")
    assert status["previousTasks"][0]["result"] == "fail"


async def test_each_round_of_one_context_is_an_execution(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    for trigger_id in ("t1", "t2"):
        keptn.open({**triggered(trigger_id), "shkeptncontext": "one"})
    keptn.open(triggered("t3"))
    answer = await executions(client, keptn, {"shkeptncontext": "one"})
    assert answer["totalCount"] == 2
    path = "/controlPlane/v1/sequence-execution"
    assert (await get(client, keptn, path, project="webshop"))["totalCount"] == 3


@pytest.mark.parametrize("release", ["0.8", "0.14", "0.19"])
async def test_older_releases_show_no_sequence_executions(
    release: Release, client: ClientSession
) -> None:
    async with FakeKeptn(release) as keptn:
        keptn.open(triggered())
        path = "/controlPlane/v1/sequence-execution"
        assert await status_of(client, keptn, path, project="webshop") == 404
        assert await status_of(client, keptn, OPEN_LIST, project="webshop") == 200


# Faults


async def test_it_refuses_connections_until_it_listens_again(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    url = keptn.url
    assert await status_of(client, keptn, "/health") == 200
    await keptn.stop_listening()
    with pytest.raises(ClientConnectorError):
        await client.get(url)
    await keptn.stop_listening()
    await keptn.listen()
    assert keptn.url == url
    assert await status_of(client, keptn, "/health") == 200


async def test_leaving_it_while_it_does_not_listen_is_fine() -> None:
    async with FakeKeptn() as keptn:
        await keptn.stop_listening()


async def test_the_next_events_can_be_refused_uncounted(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.open(trigger)
    keptn.answer_next(503, times=2)
    events = [started(trigger), started(trigger), started(trigger), finished(trigger)]
    assert await post(client, keptn, *events) == [503, 503, 200, 200]
    assert keptn.is_complete("t1")
    assert keptn.posts == 4


async def test_an_event_can_be_counted_although_it_was_refused(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.open(trigger)
    keptn.answer_next(500, counted=True, event_type=FINISHED)
    assert await post(client, keptn, started(trigger), finished(trigger)) == [200, 500]
    assert keptn.is_complete("t1")


@pytest.mark.parametrize("counted", [True, False])
async def test_a_connection_can_be_closed_before_or_after_counting(
    counted: bool, keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.expect_unanswered(keptn.open(trigger))
    keptn.drop_next(counted=counted)
    with pytest.raises(ServerDisconnectedError):
        await post(client, keptn, started(trigger))
    assert len(keptn.started("t1")) == counted


async def test_held_events_are_counted_at_once_but_answered_later(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.expect_unanswered(keptn.open(trigger))
    keptn.hold()
    posting = asyncio.create_task(post(client, keptn, started(trigger)))
    await keptn.wait_until(lambda: len(keptn.started("t1")) == 1)
    assert not posting.done()
    keptn.release()
    assert await posting == [200]


async def test_held_events_can_be_counted_only_when_released(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    trigger = triggered()
    keptn.expect_unanswered(keptn.open(trigger))
    keptn.hold(counted=False)
    posting = asyncio.create_task(post(client, keptn, started(trigger)))
    await keptn.wait_until(lambda: keptn.posts == 1)
    assert keptn.started("t1") == []
    keptn.release()
    assert await posting == [200]
    assert len(keptn.started("t1")) == 1


async def test_a_held_event_is_cut_off_when_it_stops_listening(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    keptn.open(triggered())
    keptn.hold(counted=False)
    posting = asyncio.create_task(post(client, keptn, started(triggered())))
    await keptn.wait_until(lambda: keptn.posts == 1)
    await keptn.stop_listening()
    with pytest.raises(ServerDisconnectedError):
        await posting
    assert keptn.started("t1") == []


@pytest.mark.parametrize("path", ["/controlPlane/v1/sequence-execution", OPEN_LIST])
async def test_the_api_can_fail_while_events_are_taken(
    path: str, keptn: FakeKeptn, client: ClientSession
) -> None:
    keptn.open(triggered())
    keptn.api_status = 503
    assert await status_of(client, keptn, path, project="webshop") == 503
    assert await post(client, keptn, started(triggered()), finished(triggered())) == [200, 200]
    keptn.api_status = None
    assert await status_of(client, keptn, path, project="webshop") == 200


async def test_the_log_api_can_fail(keptn: FakeKeptn, client: ClientSession) -> None:
    keptn.api_status = 503
    async with client.post(f"{keptn.url}/controlPlane/v1/log", json={"logs": []}) as answer:
        assert answer.status == 503


async def test_the_read_back_can_fail_while_the_open_list_is_there(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    keptn.open(triggered())
    keptn.sequence_api_status = 404
    path = "/controlPlane/v1/sequence-execution"
    assert await status_of(client, keptn, path, project="webshop") == 404
    assert await status_of(client, keptn, OPEN_LIST, project="webshop") == 200
