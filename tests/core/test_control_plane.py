"""Before a report whose delivery is in doubt is sent again, Keptn is asked what it counted."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from keptn_remedy import events
from keptn_remedy.control_plane import ControlPlane
from keptn_remedy.events import ActionTriggered, Replies, Report
from keptn_remedy.testing import HttpPeer, http_peer, triggered

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SOURCE = "keptn-remedy"


@pytest.fixture
async def keptn() -> AsyncIterator[HttpPeer]:
    async with http_peer() as peer:
        yield peer


@pytest.fixture
async def control_plane(keptn: HttpPeer) -> AsyncIterator[ControlPlane]:
    asked = ControlPlane(keptn.url, SOURCE, token="a-token")
    yield asked
    await asked.close()


def trigger() -> ActionTriggered:
    return events.stored_trigger(orjson.dumps(triggered("toggle-feature", id="t1")))


def started() -> Report:
    return Replies(SOURCE).started(trigger(), NOW)


def counted(event_type: str = events.STARTED, source: str = SOURCE) -> dict[str, Any]:
    task = {"triggeredID": "t1", "events": [{"eventType": event_type, "source": source}]}
    return {"status": {"previousTasks": None, "currentTask": task}}


@pytest.mark.parametrize("key", ["sequenceExecutions", "SequenceExecutions"])
async def test_a_report_is_found_under_either_name_of_the_list(
    keptn: HttpPeer, control_plane: ControlPlane, key: str
) -> None:
    keptn.answer(json={key: [counted()], "nextPageKey": 0})
    assert await control_plane.counted(started())


async def test_the_token_is_sent(keptn: HttpPeer, control_plane: ControlPlane) -> None:
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
    keptn: HttpPeer, control_plane: ControlPlane, sequence: dict[str, Any]
) -> None:
    keptn.answer(json={"sequenceExecutions": [sequence]})
    assert not await control_plane.counted(started())


async def test_a_task_that_is_over_needs_no_report(
    keptn: HttpPeer, control_plane: ControlPlane
) -> None:
    over = {"status": {"previousTasks": [{"triggeredID": "t1"}], "currentTask": {}}}
    keptn.answer(json={"sequenceExecutions": [over]})
    assert await control_plane.counted(started())


async def test_every_page_is_read(keptn: HttpPeer, control_plane: ControlPlane) -> None:
    keptn.answer(json={"sequenceExecutions": [], "nextPageKey": 20})
    keptn.answer(json={"sequenceExecutions": [counted()], "nextPageKey": 0})
    assert await control_plane.counted(started())
    assert keptn.requests[1].query["nextPageKey"] == "20"


@pytest.mark.parametrize("body", [b"not JSON", b"[]", b'{"sequenceExecutions": null}'])
async def test_an_answer_that_makes_no_sense_teaches_nothing(
    keptn: HttpPeer, control_plane: ControlPlane, body: bytes
) -> None:
    keptn.answer(body=body)
    assert not await control_plane.counted(started())
