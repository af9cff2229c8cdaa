"""The peer that the settings name: Keptn, or in local mode nobody who could be asked."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
from aiohttp import ClientSession

from keptn_remedy.action import PermanentError
from keptn_remedy.events import STRUCTURED, Event, Replies, Report
from keptn_remedy.keptn.control_plane import TaskState
from keptn_remedy.keptn.peer import Peer, peer_of
from keptn_remedy.keptn.transports import Receipt
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import FakeKeptn, triggered

REPORT = Replies("keptn-remedy").error_log(None, datetime.now(UTC), "x")
SCOPE = ("sockshop", "production")
TASK = TaskState("evaluation", "t1", "started", ())


def peer(shown: list[Report], **settings: object) -> Peer:
    config = Settings.model_validate({"port": 0, **settings})
    return peer_of(config, KeptnSettings(), Metrics("test"), Clock(), shown.append)


@pytest.fixture
async def nobody() -> AsyncIterator[Peer]:
    made = peer([], transport="local")
    yield made
    await made.close()


async def accept(event: Event) -> Receipt:
    return Receipt("accepted", event.id)


async def test_local_mode_keeps_and_shows_reports() -> None:
    shown: list[Report] = []
    local = peer(shown, transport="local")
    await local.transport.send(REPORT)
    assert shown == [REPORT]
    await local.close()


async def test_in_local_mode_no_question_has_an_answer(nobody: Peer) -> None:
    asked = nobody.control_plane
    assert not asked.exists
    assert not await asked.counted(REPORT)
    assert await asked.open_triggers() is None
    assert await asked.open_ids("sockshop") is None
    assert await asked.open_trigger("sockshop", TASK) is None
    assert await asked.task("sockshop", "context", "t1") is None
    assert await asked.running_tasks(*SCOPE, "carts") is None
    assert await asked.services(*SCOPE) is None


async def test_in_local_mode_a_file_is_not_waited_for(nobody: Peer) -> None:
    with pytest.raises(PermanentError, match=r"remediation\.yaml"):
        await nobody.control_plane.resource(*SCOPE, "carts", "remediation.yaml", "")


async def test_beside_a_distributor_reports_go_to_it_and_its_proxy_is_asked() -> None:
    async with FakeKeptn() as keptn:
        beside = peer([], event_url=keptn.event_url)
        keptn.open(triggered("scale", id="t1"))
        await beside.transport.send(REPORT)
        assert beside.control_plane.exists
        assert await beside.control_plane.open_ids("sockshop") == frozenset({"t1"})
        assert keptn.log_entries[0].message == "x"
        keptn.expect_unanswered("t1")
        await beside.close()


@pytest.mark.parametrize("transport", ["local", "distributor"])
async def test_a_transport_that_leaves_closes_each_connection_after_its_answer(
    transport: str,
) -> None:
    it = peer([], transport=transport).transport
    assert it.port == 0
    async with it.receive(accept), ClientSession(headers={"Content-Type": STRUCTURED}) as session:
        url = f"http://127.0.0.1:{it.port}/"
        async with session.post(url, json=triggered("scale")) as answer:
            assert (answer.status, answer.headers.get("Connection")) == (202, None)
        it.leave()
        async with session.post(url, json=triggered("scale")) as answer:
            assert (answer.status, answer.headers.get("Connection")) == (202, "close")
    await it.close()
