"""FakeKeptn pauses, aborts and times out sequences as Keptn does, and knows what Keptn knows."""

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from aiohttp import ClientSession, ServerDisconnectedError
from yarl import URL

from keptn_remedy.events import TRIGGERED, Replies, read_structured, stored_trigger
from keptn_remedy.testing import FakeKeptn, http_peer, triggered
from keptn_remedy.testing.fake_keptn import Endpoint, Release

ALL: list[Release] = ["0.8", "0.14", "0.19", "1.4"]
OPEN_LIST = f"/controlPlane/v1/event/triggered/{TRIGGERED}"
EXECUTIONS = "/controlPlane/v1/sequence-execution"
SERVICES = "/controlPlane/v1/project/sockshop/stage/production/service"

Event = dict[str, Any]


@pytest.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession() as client:
        yield client


@pytest.fixture
async def keptn() -> AsyncIterator[FakeKeptn]:
    async with FakeKeptn() as keptn:
        yield keptn


@pytest.fixture(params=ALL)
async def any_keptn(request: pytest.FixtureRequest) -> AsyncIterator[FakeKeptn]:
    async with FakeKeptn(request.param) as keptn:
        yield keptn


async def get(client: ClientSession, keptn: FakeKeptn, path: str, **query: str) -> tuple[int, Any]:
    async with client.get(keptn.url + path, params=query) as answer:
        return answer.status, await answer.json(content_type=None)


async def listed(client: ClientSession, keptn: FakeKeptn) -> list[str]:
    _, page = await get(client, keptn, OPEN_LIST)
    return [event["id"] for event in page["events"] or ()]


async def states(client: ClientSession, keptn: FakeKeptn, **query: str) -> list[str]:
    _, page = await get(client, keptn, EXECUTIONS, project="sockshop", **query)
    return [execution["status"]["state"] for execution in page["sequenceExecutions"]]


async def answer_all(client: ClientSession, keptn: FakeKeptn, event: Event) -> None:
    trigger, replies, now = stored_trigger(orjson.dumps(event)), Replies("us"), datetime.now(UTC)
    done = replies.finished(
        trigger, now, status="succeeded", result="pass", message="done", details={}
    )
    for report in (replies.started(trigger, now), done):
        async with client.post(keptn.event_url, data=report.body) as answer:
            assert answer.status == 200


# Pausing and queueing


async def test_what_is_paused_stays_listed_and_what_is_queued_is_not_yet(
    any_keptn: FakeKeptn, client: ClientSession
) -> None:
    paused, queued = any_keptn.open(triggered("scale")), any_keptn.open(triggered("scale"))
    any_keptn.pause(paused)
    any_keptn.queue(queued)
    assert await listed(client, any_keptn) == [paused]
    any_keptn.resume(queued)
    assert set(await listed(client, any_keptn)) == {paused, queued}


async def test_a_sequence_tells_that_it_is_paused_and_of_a_queued_one_no_task(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    id_ = keptn.open(triggered("scale"))
    keptn.pause(id_)
    assert await states(client, keptn) == ["paused"]
    keptn.queue(id_)
    _, page = await get(client, keptn, EXECUTIONS, project="sockshop")
    status = page["sequenceExecutions"][0]["status"]
    assert (status["state"], status["currentTask"]["triggeredID"]) == ("triggered", "")
    keptn.resume(id_)
    assert await states(client, keptn) == ["started"]


async def test_a_pause_holds_all_sequences_of_the_context(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    first = triggered("scale")
    keptn.open(first)
    keptn.open({**triggered("scale"), "shkeptncontext": first["shkeptncontext"]})
    keptn.open(triggered("scale"))
    keptn.pause(first["id"])
    assert await states(client, keptn) == ["paused", "paused", "started"]
    assert await states(client, keptn, status="started") == ["started"]


async def test_what_is_paused_is_counted_all_the_same(
    any_keptn: FakeKeptn, client: ClientSession
) -> None:
    event = triggered("scale")
    any_keptn.pause(any_keptn.open(event))
    await answer_all(client, any_keptn, event)
    assert any_keptn.is_complete(event["id"])


async def test_executions_are_found_by_stage(keptn: FakeKeptn, client: ClientSession) -> None:
    keptn.open(triggered("scale", stage="dev"))
    keptn.pause(keptn.open(triggered("scale")))
    assert await states(client, keptn, stage="dev") == ["started"]


async def test_executions_are_narrowed_by_service_and_name(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    keptn.open(triggered("scale", service="orders"))
    keptn.pause(keptn.open(triggered("scale")))
    assert await states(client, keptn, service="orders", name="remediation") == ["started"]
    assert await states(client, keptn, name="delivery") == []


@pytest.mark.parametrize(("release", "is_held"), [("0.14", True), ("0.19", False), ("1.4", False)])
async def test_another_service_of_the_stage_holds_back_in_old_releases_only(
    release: Release, is_held: bool
) -> None:
    keptn = FakeKeptn(release)
    running, other = keptn.open(triggered("scale", service="orders")), triggered("scale")
    keptn.answer_as("another", "started", running)
    assert keptn.is_held_back(keptn.open(other)) is is_held
    assert keptn.is_held_back(keptn.open(triggered("scale", service="orders")))
    assert not keptn.is_held_back(running)


async def test_lists_have_the_form_of_their_release(client: ClientSession) -> None:
    async with FakeKeptn("0.19") as keptn:
        ids = [keptn.open(triggered("scale")) for _ in range(2)]
        _, page = await get(client, keptn, OPEN_LIST)
        assert [event["id"] for event in page["events"]] == ids
        assert page["events"][0]["contenttype"] == "application/json"
        _, empty = await get(client, keptn, OPEN_LIST, stage="dev")
        assert empty == {"events": None, "nextPageKey": "0", "totalCount": 0}


async def test_the_newest_release_lists_in_the_form_that_was_seen(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    ids = [keptn.open(triggered("scale")) for _ in range(2)]
    _, page = await get(client, keptn, OPEN_LIST)
    assert [event["id"] for event in page["events"]] == ids[::-1]
    assert "contenttype" not in page["events"][0]
    _, empty = await get(client, keptn, OPEN_LIST, stage="dev")
    assert empty == {"events": [], "nextPageKey": "0"}
    _, none = await get(client, keptn, EXECUTIONS, project="sockshop", stage="dev")
    assert none == {"sequenceExecutions": []}


@pytest.mark.parametrize("endpoint", ["triggered", "sequence-execution"])
async def test_an_endpoint_can_answer_that_there_is_nothing(
    endpoint: Any, keptn: FakeKeptn, client: ClientSession
) -> None:
    keptn.open(triggered("scale"))
    keptn.answer_empty_at(endpoint)
    assert (await listed(client, keptn) == []) is (endpoint == "triggered")
    assert (await states(client, keptn) == []) is (endpoint == "sequence-execution")
    keptn.recover(endpoint)
    assert len(await listed(client, keptn)) == len(await states(client, keptn)) == 1


# Aborting and timing out


async def test_an_abort_takes_the_task_off_the_list(
    any_keptn: FakeKeptn, client: ClientSession
) -> None:
    id_ = any_keptn.open(triggered("scale"))
    any_keptn.abort(id_)
    assert await listed(client, any_keptn) == []


async def test_an_abort_is_told_for_every_round_as_keptn_does(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    over, open_ = triggered("scale"), triggered("scale")
    open_["shkeptncontext"] = over["shkeptncontext"]
    for event in (over, open_):
        keptn.open(event)
    await answer_all(client, keptn, over)
    first, second = keptn.abort(open_["id"])
    assert first["triggeredid"] != second["triggeredid"]
    assert keptn.is_complete(over["id"])
    for told in (first, second):
        assert told["type"] == "sh.keptn.event.production.remediation.finished"
        assert (told["source"], told["data"]["status"], told["data"]["result"]) == (
            "shipyard-controller",
            "aborted",
            "pass",
        )
        assert read_structured(orjson.dumps(told)).time is not None


async def test_what_it_tells_can_be_delivered(keptn: FakeKeptn) -> None:
    [told] = keptn.abort(keptn.open(triggered("scale")))
    async with http_peer() as receiver:
        await keptn.deliver(told, to=receiver.url)
    assert receiver.requests[0].json == told


async def test_an_aborted_sequence_is_merely_finished_and_keeps_its_task(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    event = triggered("scale")
    keptn.abort(keptn.open(event))
    await answer_all(client, keptn, event)
    _, page = await get(client, keptn, EXECUTIONS, project="sockshop")
    [execution] = page["sequenceExecutions"]
    assert execution["status"]["state"] == "finished"
    assert execution["status"]["currentTask"]["triggeredID"] == event["id"]
    # Late answers are appended, and lead nowhere.
    assert len(execution["status"]["currentTask"]["events"]) == 2
    assert not keptn.is_complete(event["id"])


async def test_what_nobody_answers_times_out(any_keptn: FakeKeptn, client: ClientSession) -> None:
    told = any_keptn.time_out(any_keptn.open(triggered("scale")))
    assert (told["data"]["status"], told["data"]["result"]) == ("errored", "fail")
    assert await listed(client, any_keptn) == []


def test_what_was_answered_does_not_time_out() -> None:
    keptn = FakeKeptn()
    id_ = keptn.open(triggered("scale"))
    keptn.answer_as("another", "started", id_)
    with pytest.raises(ValueError, match="waits for it without a time-out"):
        keptn.time_out(id_)


# Others


@pytest.mark.parametrize("state", ["CLOSED", "RESOLVED"])
def test_a_closed_problem_is_told_in_the_context_of_the_task(state: str) -> None:
    event = triggered("scale")
    keptn = FakeKeptn()
    told = keptn.problem_closed(keptn.open(event), state)
    assert told["type"] == "sh.keptn.events.problem"
    assert told["shkeptncontext"] == event["shkeptncontext"]
    assert (told["data"]["State"], told["data"]["service"]) == (state, "carts")
    assert read_structured(orjson.dumps(told)).data == told["data"]


async def test_another_provider_completes_a_task(any_keptn: FakeKeptn) -> None:
    id_ = any_keptn.open(triggered("scale"))
    any_keptn.answer_as("another", "started", id_)
    assert not any_keptn.is_complete(id_)
    any_keptn.answer_as("another", "finished", id_, result="warning")
    assert any_keptn.outcome(id_).result == "warning"
    assert any_keptn.received == []


async def test_the_balance_of_another_provider_is_its_own_business() -> None:
    async with FakeKeptn() as keptn:
        keptn.answer_as("another", "started", keptn.open(triggered("scale")))


# Services of a stage


async def test_the_services_of_a_stage_are_those_of_its_tasks_and_more(
    any_keptn: FakeKeptn, client: ClientSession
) -> None:
    any_keptn.open(triggered("scale"))
    any_keptn.add_services("sockshop", "production", "orders", "carts", "users")
    status, page = await get(client, any_keptn, SERVICES, pageSize="2")
    assert (status, page["totalCount"], page["nextPageKey"]) == (200, 3, "2")
    assert [service["serviceName"] for service in page["services"]] == ["carts", "orders"]


async def test_an_unknown_stage_has_no_services(keptn: FakeKeptn, client: ClientSession) -> None:
    assert (await get(client, keptn, SERVICES))[0] == 404


# Resources


@pytest.mark.parametrize(
    ("release", "base"),
    [
        ("0.8", "configuration-service"),
        ("0.14", "configuration-service"),
        ("0.19", "resource-service"),
        ("1.4", "resource-service"),
    ],
)
async def test_resources_have_versions_and_levels(
    release: Release, base: str, client: ClientSession
) -> None:
    async with FakeKeptn(release) as keptn:
        first = keptn.put_resource("job/config.yaml", b"one", "sockshop", "production", "carts")
        second = keptn.put_resource("job/config.yaml", b"two", "sockshop", "production", "carts")
        keptn.put_resource("job/config.yaml", b"stage", "sockshop", "production")
        keptn.put_resource("job/config.yaml", None, "sockshop", "production", "carts")
        stage = f"/{base}/v1/project/sockshop/stage/production"
        at_service = f"{stage}/service/carts/resource/job%2Fconfig.yaml"
        found = [
            await resource(client, keptn, f"{stage}/resource/job%2Fconfig.yaml"),
            await resource(client, keptn, at_service),
            await resource(client, keptn, f"{at_service}?gitCommitID={first}"),
            await resource(client, keptn, f"{at_service}?gitCommitID={second}"),
            await resource(client, keptn, f"{at_service}?gitCommitID=unknown"),
        ]
    assert found == [b"stage", None, b"one", b"two", None]


async def resource(client: ClientSession, keptn: FakeKeptn, path: str) -> bytes | None:
    async with client.get(URL(keptn.url + path, encoded=True)) as answer:
        page = await answer.json()
        return b64decode(page["resourceContent"]) if answer.status == 200 else None


# An endpoint that fails


@pytest.mark.parametrize(
    ("endpoint", "path"),
    [("triggered", OPEN_LIST), ("sequence-execution", EXECUTIONS), ("service", SERVICES)],
)
async def test_one_endpoint_can_fail_or_hang_up(
    endpoint: Endpoint, path: str, keptn: FakeKeptn, client: ClientSession
) -> None:
    keptn.open(triggered("scale"))
    keptn.fail_at(endpoint, 500)
    assert (await get(client, keptn, path, project="sockshop"))[0] == 500
    keptn.hang_up_at(endpoint)
    with pytest.raises(ServerDisconnectedError):
        await get(client, keptn, path, project="sockshop")
    keptn.recover(endpoint)
    assert (await get(client, keptn, path, project="sockshop"))[0] == 200
    assert len(keptn.asked) >= 3


async def test_what_is_under_way_to_its_receiver_is_not_lost(
    keptn: FakeKeptn, client: ClientSession
) -> None:
    async with http_peer() as receiver:
        with receiver.hold():
            delivering = asyncio.create_task(keptn.deliver(triggered("scale"), to=receiver.url))
            await receiver.requested()
            assert await listed(client, keptn) == []
            assert await states(client, keptn) == ["triggered"]
        await delivering
    assert await states(client, keptn) == ["started"]
