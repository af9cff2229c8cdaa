"""The distributor's side of a report: what each of its answers means."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import pytest_asyncio

from keptn_remedy.events import Replies
from keptn_remedy.keptn.api.credentials import Credentials, Secret
from keptn_remedy.keptn.peer import peer_of
from keptn_remedy.keptn.transports import Blocked, Rejected, Undelivered
from keptn_remedy.keptn.transports.distributor import Distributor
from keptn_remedy.keptn.transports.http_receiver import HttpReceiver
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import HttpPeer, http_peer
from tests.babbling import babbling

REPORT = Replies("keptn-remedy").error_log(None, datetime.now(UTC), "x")


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[HttpPeer]:
    async with http_peer() as made:
        yield made


@pytest_asyncio.fixture
async def distributor(peer: HttpPeer) -> AsyncIterator[Distributor]:
    receiver = HttpReceiver("127.0.0.1", 0, Metrics("test"))
    made = Distributor(receiver, f"{peer.url}/event")
    yield made
    await made.close()


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_any_2xx_is_an_acknowledgement(
    status: int, peer: HttpPeer, distributor: Distributor
) -> None:
    peer.answer(status)
    await distributor.send(REPORT)
    assert peer.requests[0].body == REPORT.body
    assert peer.requests[0].headers["Content-Type"] == "application/cloudevents+json"


async def test_the_token_is_sent_where_one_is_set(peer: HttpPeer, distributor: Distributor) -> None:
    with_token = Distributor(
        HttpReceiver("127.0.0.1", 0, Metrics("test")),
        f"{peer.url}/api/v1/event",
        Credentials(Secret("a-token")),
    )
    for each in (with_token, distributor):
        await each.send(REPORT)
    await with_token.close()
    assert [request.headers.get("x-token") for request in peer.requests] == ["a-token", None]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_was_replaced_is_read_and_used_at_once(
    status: int, peer: HttpPeer, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("new-token\n")
    keptn = {"keptn_api_token": "old-token", "keptn_api_token_file": path}
    made = peer_of(
        Settings.model_validate({"event_url": f"{peer.url}/api/v1/event", "port": 0}),
        KeptnSettings.model_validate(keptn),
        Metrics("x"),
        Clock(),
        None,
    )
    peer.answer(status)
    await made.transport.send(REPORT)
    peer.answer(status)
    with pytest.raises(Blocked):
        await made.transport.send(REPORT)
    await made.close()
    tokens = [request.headers["x-token"] for request in peer.requests]
    assert tokens == ["old-token", "new-token", "new-token"]


@pytest.mark.parametrize("status", [400, 413, 422])
async def test_an_answer_about_the_body_is_a_refusal_for_good(
    status: int, peer: HttpPeer, distributor: Distributor
) -> None:
    peer.answer(status)
    with pytest.raises(Rejected, match=str(status)):
        await distributor.send(REPORT)


@pytest.mark.parametrize(
    "status", [301, 302, 303, 307, 308, 401, 402, 403, 404, 405, 407, 409, 410, 411, 415, 421, 431]
)
async def test_any_other_answer_is_about_the_way_and_redirects_are_not_followed(
    status: int, peer: HttpPeer, distributor: Distributor
) -> None:
    peer.answer(status, headers={"Location": f"{peer.url}/elsewhere"})
    with pytest.raises(Blocked, match=str(status)) as caught:
        await distributor.send(REPORT)
    assert not caught.value.doubtful
    assert len(peer.requests) == 1


@pytest.mark.parametrize(
    ("status", "doubtful"),
    [(408, True), (425, False), (429, False), (500, True), (502, True), (503, False), (504, True)],
)
async def test_what_may_be_taken_later_says_whether_it_may_have_been_taken_already(
    status: int, doubtful: bool, peer: HttpPeer, distributor: Distributor
) -> None:
    peer.answer(status, headers={"Retry-After": "3"})
    with pytest.raises(Undelivered) as caught:
        await distributor.send(REPORT)
    assert (caught.value.doubtful, caught.value.retry_after) == (doubtful, 3)


async def test_a_503_that_names_no_time_may_be_a_proxys_after_the_report_was_taken(
    peer: HttpPeer, distributor: Distributor
) -> None:
    peer.answer(503)
    with pytest.raises(Undelivered) as caught:
        await distributor.send(REPORT)
    assert (caught.value.doubtful, caught.value.retry_after) == (True, None)


async def test_the_peers_clock_tells_when_to_come_back(
    peer: HttpPeer, distributor: Distributor
) -> None:
    dates = {
        "Date": "Mon, 02 Mar 2020 12:00:00 GMT",
        "Retry-After": "Mon, 02 Mar 2020 12:00:20 GMT",
    }
    peer.answer(503, headers=dates)
    with pytest.raises(Undelivered) as caught:
        await distributor.send(REPORT)
    assert caught.value.retry_after == 20


async def test_a_connection_closed_without_an_answer_leaves_doubt(
    peer: HttpPeer, distributor: Distributor
) -> None:
    peer.drop_next()
    with pytest.raises(Undelivered) as caught:
        await distributor.send(REPORT)
    assert caught.value.doubtful


async def test_no_answer_in_time_leaves_doubt(
    peer: HttpPeer, distributor: Distributor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keptn_remedy.keptn.transports.distributor.ANSWER_SECONDS", 0.1)
    with peer.hold(), pytest.raises(Undelivered, match="TimeoutError") as caught:
        await distributor.send(REPORT)
    assert caught.value.doubtful


async def test_no_header_is_told_where_the_answer_is_no_http() -> None:
    async with babbling() as url:
        receiver = HttpReceiver("127.0.0.1", 0, Metrics("test"))
        distributor = Distributor(receiver, url, Credentials(Secret("a-token")))
        with pytest.raises(Undelivered) as caught:
            await distributor.send(REPORT)
        await distributor.close()
    assert caught.value.doubtful
    assert "ClientResponseError" in caught.value.reason
    assert "a-token" not in caught.value.reason


async def test_a_refused_connection_leaves_none() -> None:
    async with http_peer() as gone:
        url = gone.url
    distributor = Distributor(HttpReceiver("127.0.0.1", 0, Metrics("test")), url)
    with pytest.raises(Undelivered) as caught:
        await distributor.send(REPORT)
    assert not caught.value.doubtful
    assert caught.value.reason == f"{url} can't be reached: Connection refused"
    await distributor.close()
