"""Keptn is asked what it counted, what it waits for, and what it holds; None is no answer."""

from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from keptn_remedy import events
from keptn_remedy.action import PermanentError, TemporaryError
from keptn_remedy.events import ActionTriggered, Replies, Report
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.api.connections import MAX_ANSWER_BYTES
from keptn_remedy.keptn.api.credentials import Credentials, Secret
from keptn_remedy.keptn.control_plane import CommitUnreadable
from keptn_remedy.keptn.control_plane.files import DIRECT, MOST_BYTES, Files
from keptn_remedy.keptn.control_plane.over_http import HttpControlPlane
from keptn_remedy.testing import FakeKeptn, HttpPeer, http_peer, triggered
from keptn_remedy.testing.fake_keptn import Release

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = "keptn-remedy"


@pytest.fixture
async def keptn() -> AsyncIterator[HttpPeer]:
    async with http_peer() as peer:
        yield peer


@pytest.fixture
async def control_plane(keptn: HttpPeer) -> AsyncIterator[HttpControlPlane]:
    asked = HttpControlPlane(ApiClient(keptn.url, Credentials(Secret("a-token"))), SOURCE)
    yield asked
    await asked.close()


@asynccontextmanager
async def asked_fake(release: Release = "1.4") -> AsyncIterator[tuple[FakeKeptn, HttpControlPlane]]:
    async with FakeKeptn(release) as keptn:
        control_plane = HttpControlPlane(ApiClient(keptn.url), SOURCE)
        yield keptn, control_plane
        await control_plane.close()


def trigger() -> ActionTriggered:
    return events.stored_trigger(orjson.dumps(triggered("toggle-feature", id="t1")))


def started() -> Report:
    return Replies(SOURCE).started(trigger(), NOW)


def counted(event_type: str = events.STARTED, source: str = SOURCE) -> dict[str, Any]:
    task = {"triggeredID": "t1", "events": [{"eventType": event_type, "source": source}]}
    return {"status": {"previousTasks": None, "currentTask": task}}


# What it counted


@pytest.mark.parametrize("key", ["sequenceExecutions", "SequenceExecutions"])
async def test_a_report_is_found_under_either_name_of_the_list(
    keptn: HttpPeer, control_plane: HttpControlPlane, key: str
) -> None:
    keptn.answer(json={key: [counted()], "nextPageKey": 0})
    assert await control_plane.counted(started())


async def test_the_token_is_sent(keptn: HttpPeer, control_plane: HttpControlPlane) -> None:
    keptn.answer(json={"sequenceExecutions": []})
    await control_plane.counted(started())
    assert keptn.requests[0].headers["x-token"] == "a-token"


@pytest.mark.parametrize(
    "sequence",
    [
        counted(source="somebody-else"),
        counted(event_type=events.FINISHED),
        {"status": None},
        {"status": {"currentTask": {"triggeredID": "t2", "events": None}}},
    ],
)
async def test_what_others_reported_is_not_our_report(
    keptn: HttpPeer, control_plane: HttpControlPlane, sequence: dict[str, Any]
) -> None:
    keptn.answer(json={"sequenceExecutions": [sequence]})
    assert not await control_plane.counted(started())


async def test_a_task_that_is_over_needs_no_report(
    keptn: HttpPeer, control_plane: HttpControlPlane
) -> None:
    over = {"status": {"previousTasks": [{"triggeredID": "t1"}], "currentTask": {}}}
    keptn.answer(json={"sequenceExecutions": [over]})
    assert await control_plane.counted(started())


async def test_every_page_is_read(keptn: HttpPeer, control_plane: HttpControlPlane) -> None:
    keptn.answer(json={"sequenceExecutions": [], "nextPageKey": 20})
    keptn.answer(json={"sequenceExecutions": [counted()], "nextPageKey": 0})
    assert await control_plane.counted(started())
    assert keptn.requests[1].query["nextPageKey"] == "20"


@pytest.mark.parametrize("body", [b"not JSON", b"[]", b'{"sequenceExecutions": null}'])
async def test_an_answer_that_makes_no_sense_is_no_answer(
    keptn: HttpPeer, control_plane: HttpControlPlane, body: bytes
) -> None:
    keptn.answer(body=body)
    assert not await control_plane.counted(started())


@pytest.mark.parametrize(
    ("status", "said"),
    [(429, None), (500, None), (503, None), (302, False), (404, False)],
)
async def test_what_may_be_asked_again_soon_is_not_taken_for_a_no(
    keptn: HttpPeer, control_plane: HttpControlPlane, status: int, said: bool | None
) -> None:
    for _ in range(2):
        keptn.answer(status)
    assert await control_plane.counted(started()) is said


async def test_a_keptn_that_is_away_may_be_asked_again_soon() -> None:
    away = HttpControlPlane(ApiClient("http://127.0.0.1:1"), SOURCE)
    assert await away.counted(started()) is None
    await away.close()


# The list of open triggers


def page(count: int, of: int | None = None, **others: Any) -> dict[str, Any]:
    listed = [{"id": f"t{n}", "specversion": "1.0"} for n in range(count)]
    return {"events": listed or None, "totalCount": count if of is None else of, **others}


async def test_an_open_trigger_is_read_as_if_it_had_been_delivered() -> None:
    event = triggered("toggle-feature", id="t1")
    async with asked_fake() as (keptn, control_plane):
        keptn.open(event)
        listed = await control_plane.open_triggers()
    assert listed is not None
    trigger = events.stored_trigger(listed["t1"])
    assert (trigger.id, trigger.action, trigger.data) == ("t1", "toggle-feature", event["data"])
    assert "datacontenttype" not in orjson.loads(listed["t1"])


async def test_the_whole_list_is_asked_for_at_once() -> None:
    async with asked_fake() as (keptn, control_plane):
        ids = frozenset(keptn.open(triggered("toggle-feature")) for _ in range(45))
        keptn.open(triggered("toggle-feature", project="another"))
        assert await control_plane.open_ids("sockshop") == ids
        assert len(keptn.asked) == 1
        everything = await control_plane.open_triggers()
    assert everything is not None
    assert len(everything) == 46


async def test_a_list_that_is_longer_is_asked_for_again(
    keptn: HttpPeer, control_plane: HttpControlPlane
) -> None:
    keptn.answer(json=page(1_000, of=1_003, nextPageKey="1000"))
    keptn.answer(json=page(1_003))
    found = await control_plane.open_ids("sockshop")
    assert found is not None
    assert len(found) == 1_003
    assert int(keptn.requests[1].query["pageSize"]) >= 1_003
    assert "nextPageKey" not in keptn.requests[1].query


@pytest.mark.parametrize(
    "answer",
    [
        page(1, of=2),
        page(0, of=1),
        page(1, nextPageKey="20"),
        {"totalCount": 0},
        {"events": "none"},
        {"events": [None]},
        [],
    ],
)
async def test_a_list_that_is_not_whole_is_no_answer(
    answer: Any, keptn: HttpPeer, control_plane: HttpControlPlane
) -> None:
    keptn.answer(json=answer, times=None)
    assert await control_plane.open_ids("sockshop") is None
    assert await control_plane.open_triggers() is None


async def test_an_empty_list_is_an_answer(keptn: HttpPeer, control_plane: HttpControlPlane) -> None:
    keptn.answer(json=page(0))
    assert await control_plane.open_ids("sockshop") == frozenset()
    keptn.answer(json={"events": []})
    assert await control_plane.open_triggers() == {}


async def test_an_event_without_an_id_is_nobodys(
    keptn: HttpPeer, control_plane: HttpControlPlane
) -> None:
    keptn.answer(json={"events": [{"id": None}, {}, {"id": 5}, {"id": "t1"}]})
    assert await control_plane.open_ids("sockshop") == frozenset({"t1"})


async def test_an_event_that_can_not_be_written_spoils_no_other(
    keptn: HttpPeer, control_plane: HttpControlPlane
) -> None:
    huge = b"1" * 30
    keptn.answer(body=b'{"events": [{"id": "t1", "data": %b}, {"id": "t2"}]}' % huge)
    assert await control_plane.open_triggers() == {"t2": b'{"id":"t2"}'}


# Tasks


async def test_a_task_has_its_sequence_and_what_was_counted() -> None:
    event = triggered("toggle-feature", id="t1")
    async with asked_fake() as (keptn, control_plane):
        keptn.open(event)
        keptn.answer_as("another", "started", "t1")
        keptn.pause("t1")
        task = await control_plane.task("sockshop", event["shkeptncontext"], "t1")
        assert await control_plane.task("sockshop", event["shkeptncontext"], "t2") is None
        assert await control_plane.task("sockshop", "another context", "t1") is None
    assert task is not None
    assert (task.sequence, task.event_type) == ("paused", events.TRIGGERED)
    assert task.has("started", "another")
    assert not task.has("started", SOURCE)
    assert not task.has("finished", "another")


async def test_a_task_that_is_complete_is_not_the_current_one() -> None:
    event = triggered("toggle-feature", id="t1")
    async with asked_fake() as (keptn, control_plane):
        keptn.open(event)
        keptn.answer_as("another", "started", "t1")
        keptn.answer_as("another", "finished", "t1")
        assert await control_plane.task("sockshop", event["shkeptncontext"], "t1") is None


async def test_what_runs_of_a_service_in_a_stage_is_known() -> None:
    async with asked_fake() as (keptn, control_plane):
        running = keptn.open(triggered("toggle-feature"))
        keptn.pause(keptn.open(triggered("toggle-feature")))
        keptn.open(triggered("toggle-feature", stage="dev"))
        keptn.open(triggered("toggle-feature", service="orders"))
        tasks = await control_plane.running_tasks("sockshop", "production", "carts")
        assert tasks is not None
        assert [task.triggered_id for task in tasks] == [running]
        assert await control_plane.open_trigger("sockshop", tasks[0]) is not None
        keptn.end_task(running)
        assert await control_plane.open_trigger("sockshop", tasks[0]) is None
        keptn.fail_at("sequence-execution")
        assert await control_plane.running_tasks("sockshop", "production", "carts") is None


@pytest.mark.parametrize(
    ("state", "current", "previous", "progress"),
    [
        ("started", "t1", None, "open"),
        ("paused", "t1", None, "open"),
        ("finished", "t1", None, "ended"),
        ("timedOut", "t1", None, "ended"),
        ("started", "t2", ["t1"], "answered"),
        ("finished", "", ["t1"], "answered"),
        ("triggered", "", None, "absent"),
    ],
)
async def test_where_a_task_is_says_whether_it_has_ended(
    state: str,
    current: str,
    previous: list[str] | None,
    progress: str,
    keptn: HttpPeer,
    control_plane: HttpControlPlane,
) -> None:
    tasks = [{"triggeredID": id_} for id_ in previous] if previous else None
    status = {"state": state, "previousTasks": tasks, "currentTask": {"triggeredID": current}}
    other_round = {"status": {"state": "finished", "currentTask": {}}}
    keptn.answer(json={"sequenceExecutions": [other_round, {"status": status}]})
    assert await control_plane.progress("sockshop", "c", "t1") == progress


async def test_a_release_that_shows_no_sequences_is_told_from_a_keptn_that_fails() -> None:
    for release in ("0.8", "0.14", "0.19"):
        async with asked_fake(release) as (_, control_plane):
            assert await control_plane.progress("sockshop", "c", "t1") == "untold"
    async with asked_fake() as (keptn, control_plane):
        assert await control_plane.progress("unknown", "c", "t1") is None
        keptn.open(triggered("toggle-feature"))
        assert await control_plane.progress("sockshop", "c", "t1") == "absent"
        keptn.hang_up_at("sequence-execution")
        assert await control_plane.progress("sockshop", "c", "t1") is None


# Services


async def test_the_services_of_a_stage_are_counted() -> None:
    async with asked_fake() as (keptn, control_plane):
        keptn.add_services("a shop", "pro/duction", *(f"service-{n}" for n in range(45)))
        assert await control_plane.services("a shop", "pro/duction") == 45
        assert await control_plane.services("a shop", "dev") is None


@pytest.mark.parametrize(
    ("answer", "count"),
    [
        ({"services": []}, 0),
        ({"services": None, "nextPageKey": "0"}, 0),
        ({"services": [{}, {}]}, 2),
        ({"services": [{}], "nextPageKey": "1", "totalCount": 7.0}, 7),
        ({"services": [{}], "nextPageKey": "1"}, None),
        ({"totalCount": 7}, None),
    ],
)
async def test_services_are_counted_only_where_the_answer_makes_sense(
    answer: Any, count: int | None, keptn: HttpPeer, control_plane: HttpControlPlane
) -> None:
    keptn.answer(json=answer)
    assert await control_plane.services("sockshop", "production") == count


# Resources

FILE = "remediation.yaml"
PLACE = ("sockshop", "production", "carts")


@pytest.mark.parametrize("release", ["0.8", "0.14", "0.19", "1.4"])
async def test_a_file_is_read_as_it_was_at_a_commit(release: Release) -> None:
    async with asked_fake(release) as (keptn, control_plane):
        commit = keptn.put_resource(FILE, b"then", *PLACE)
        keptn.put_resource(FILE, b"now", *PLACE)
        assert await control_plane.resource(*PLACE, FILE, commit) == b"then"
        assert await control_plane.resource(*PLACE, FILE, "") == b"now"


@pytest.mark.parametrize("release", ["0.19", "1.4"])
async def test_a_commit_that_keptn_does_not_know_is_told_from_a_keptn_that_fails(
    release: Release,
) -> None:
    async with asked_fake(release) as (keptn, control_plane):
        keptn.put_resource(FILE, b"now", *PLACE)
        with pytest.raises(CommitUnreadable, match="forgotten"):
            await control_plane.resource(*PLACE, FILE, "forgotten")
        keptn.fail_at("resource", 500)
        with pytest.raises(TemporaryError, match="answered 500"):
            await control_plane.resource(*PLACE, FILE, "")


async def test_files_are_read_from_the_level_that_is_named() -> None:
    async with asked_fake() as (keptn, control_plane):
        keptn.put_resource("a/b.yaml", b"project", "sockshop")
        keptn.put_resource("a/b.yaml", b"stage", "sockshop", "production")
        assert await control_plane.resource("sockshop", "", "", "a/b.yaml", "") == b"project"
        assert await control_plane.resource("sockshop", "production", "", "a/b.yaml", "") == (
            b"stage"
        )


async def test_a_file_over_the_limit_is_refused(
    keptn: HttpPeer, control_plane: HttpControlPlane
) -> None:
    content = b64encode(b"x" * (MOST_BYTES + 1)).decode()
    keptn.answer(json={"resourceContent": content})
    with pytest.raises(PermanentError, match=r"remediation\.yaml has more than 1048576 bytes"):
        await control_plane.resource(*PLACE, FILE, "")


async def test_keptns_own_resource_service_is_asked_without_the_token(keptn: HttpPeer) -> None:
    asked = HttpControlPlane(
        ApiClient("http://127.0.0.1:9", Credentials(Secret("a-token"))),
        SOURCE,
        Files(ApiClient(keptn.url), DIRECT),
    )
    keptn.answer(json={"resourceContent": b64encode(b"then").decode()})
    assert await asked.resource(*PLACE, "a/b.yaml", "c0ffee") == b"then"
    (request,) = keptn.requests
    place = "project/sockshop/stage/production/service/carts"
    assert request.path == f"/v1/{place}/resource/a/b.yaml"
    assert "x-token" not in request.headers
    await asked.close()


async def test_the_file_of_another_level_is_not_the_one_of_the_service() -> None:
    async with asked_fake() as (keptn, control_plane):
        keptn.put_resource("a/b.yaml", b"project", "sockshop")
        keptn.put_resource("a/b.yaml", b"stage", "sockshop", "production")
        assert await control_plane.resource(*PLACE, "a/b.yaml", "") is None
        keptn.put_resource("a/b.yaml", b"service", *PLACE)
        assert await control_plane.resource(*PLACE, "a/b.yaml", "") == b"service"


async def test_what_a_commit_lacks_is_missing_there() -> None:
    async with asked_fake() as (keptn, control_plane):
        before = keptn.put_resource("other.yaml", b"", *PLACE)
        keptn.put_resource(FILE, b"now", *PLACE)
        assert await control_plane.resource(*PLACE, FILE, before) is None


async def test_a_keptn_that_fails_is_not_a_missing_file() -> None:
    async with asked_fake() as (keptn, control_plane):
        keptn.put_resource(FILE, b"now", *PLACE)
        keptn.fail_at("resource", 503)
        with pytest.raises(TemporaryError, match="resource-service answered 503"):
            await control_plane.resource(*PLACE, FILE, "")
        keptn.hang_up_at("resource")
        with pytest.raises(TemporaryError, match="ServerDisconnectedError"):
            await control_plane.resource(*PLACE, FILE, "")


@pytest.mark.parametrize("body", [b"", b"not JSON", b"{}", b'{"resourceContent": "x"}', b"[]"])
async def test_a_file_that_makes_no_sense_is_not_a_missing_file(
    body: bytes, keptn: HttpPeer, control_plane: HttpControlPlane
) -> None:
    keptn.answer(body=body, times=None)
    with pytest.raises(TemporaryError, match="can't be asked"):
        await control_plane.resource(*PLACE, FILE, "")


async def test_a_service_that_keptn_lacks_has_no_files() -> None:
    async with asked_fake() as (keptn, control_plane):
        assert await control_plane.resources(*PLACE) == []
        keptn.put_resource("a/b.yaml", b"", *PLACE)
        keptn.put_resource(".gitignore", b"", *PLACE)
        assert await control_plane.resources(*PLACE) == ["a/b.yaml"]


@pytest.mark.parametrize("name", ["/a", "a"])
async def test_keptns_own_resource_service_lists_without_the_token(
    name: str, keptn: HttpPeer
) -> None:
    asked = HttpControlPlane(
        ApiClient("http://127.0.0.1:9", Credentials(Secret("a-token"))),
        SOURCE,
        Files(ApiClient(keptn.url), DIRECT),
    )
    keptn.answer(json={"resources": [{"resourceURI": name}], "nextPageKey": "50"})
    keptn.answer(json={"resources": None})
    assert await asked.resources(*PLACE) == ["a"]
    place = "project/sockshop/stage/production/service/carts"
    assert [request.path for request in keptn.requests] == [f"/v1/{place}/resource"] * 2
    assert all("x-token" not in request.headers for request in keptn.requests)
    await asked.close()


@pytest.mark.parametrize("body", [b"", b"not JSON", b"{}", b'{"resources": [{}]}', b"[]"])
async def test_a_list_of_files_that_makes_no_sense_is_not_an_empty_one(
    body: bytes, keptn: HttpPeer, control_plane: HttpControlPlane
) -> None:
    keptn.answer(body=body, times=None)
    with pytest.raises(TemporaryError, match="can't be asked"):
        await control_plane.resources(*PLACE)


async def test_a_list_of_files_without_an_end_is_refused(
    keptn: HttpPeer, control_plane: HttpControlPlane
) -> None:
    keptn.answer(json={"resources": [{"resourceURI": "/a"}], "nextPageKey": "50"}, times=None)
    with pytest.raises(PermanentError, match="carts has more than 2,000 files"):
        await control_plane.resources(*PLACE)


# How it is asked


@pytest.mark.parametrize("status", [204, 301, 302, 307, 401, 403, 404, 429, 500, 503])
async def test_any_answer_but_200_is_unknown(
    status: int, keptn: HttpPeer, control_plane: HttpControlPlane
) -> None:
    elsewhere = {"Location": f"{keptn.url}/elsewhere"}
    keptn.answer(status, json=page(0), headers=elsewhere, times=None)
    assert await control_plane.open_ids("sockshop") is None
    assert await control_plane.task("sockshop", "context", "t1") is None
    assert await control_plane.services("sockshop", "production") is None
    assert not any(request.path == "/elsewhere" for request in keptn.requests)


async def test_an_answer_without_end_is_refused(
    keptn: HttpPeer, control_plane: HttpControlPlane
) -> None:
    keptn.answer(body=b'{"events": [' + b" " * MAX_ANSWER_BYTES + b"]}")
    assert await control_plane.open_ids("sockshop") is None


async def test_a_keptn_that_is_not_there_is_unknown(control_plane: HttpControlPlane) -> None:
    nobody = HttpControlPlane(ApiClient("http://127.0.0.1:9"), SOURCE)
    assert await nobody.open_ids("sockshop") is None
    assert await nobody.open_triggers() is None
    await nobody.close()


async def test_the_path_of_the_api_is_kept(keptn: HttpPeer) -> None:
    control_plane = HttpControlPlane(ApiClient(f"{keptn.url}/api"), SOURCE)
    await control_plane.open_ids("sockshop")
    await control_plane.close()
    assert keptn.requests[0].path == f"/api/controlPlane/v1/event/triggered/{events.TRIGGERED}"
