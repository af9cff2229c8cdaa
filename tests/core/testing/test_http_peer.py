"""The HTTP peer answers as told and keeps what it was asked."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession, ServerDisconnectedError

from keptn_remedy.testing.http_peer import HttpPeer, http_peer


@pytest.fixture
async def peer() -> AsyncIterator[HttpPeer]:
    async with http_peer() as peer:
        yield peer


@pytest.fixture
async def client(peer: HttpPeer) -> AsyncIterator[ClientSession]:
    async with ClientSession(peer.url) as client:
        yield client


async def status(client: ClientSession) -> int:
    async with client.get("/") as answer:
        return answer.status


async def test_it_answers_200_when_nothing_was_told(client: ClientSession) -> None:
    async with client.get("/anything") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


async def test_it_keeps_what_it_was_asked(peer: HttpPeer, client: ClientSession) -> None:
    await client.post("/purge?zone=a", json={"all": True}, headers={"X-Token": "secret"})
    [request] = peer.requests
    assert (request.method, request.path, request.query["zone"]) == ("POST", "/purge", "a")
    assert request.headers["x-token"] == "secret"
    assert request.json == {"all": True}


async def test_its_answers_come_in_order_and_then_200(
    peer: HttpPeer, client: ClientSession
) -> None:
    peer.answer(503, times=2)
    peer.answer(404)
    assert [await status(client) for _ in range(4)] == [503, 503, 404, 200]


async def test_an_answer_can_stay_for_good(peer: HttpPeer, client: ClientSession) -> None:
    peer.answer(503, times=None)
    assert [await status(client) for _ in range(3)] == [503, 503, 503]


async def test_it_answers_json_with_headers(peer: HttpPeer, client: ClientSession) -> None:
    peer.answer(json={"enabled": True}, headers={"Retry-After": "3"})
    async with client.get("/") as answer:
        assert await answer.json() == {"enabled": True}
        assert answer.headers["Retry-After"] == "3"


async def test_it_closes_the_connection_without_an_answer(
    peer: HttpPeer, client: ClientSession
) -> None:
    peer.drop_next()
    with pytest.raises(ServerDisconnectedError):
        await client.post("/")
    assert await status(client) == 200


async def test_held_requests_are_answered_after_the_block(
    peer: HttpPeer, client: ClientSession
) -> None:
    with peer.hold():
        held = asyncio.create_task(status(client))
        await peer.requested()
        assert not held.done()
    assert await held == 200


async def test_a_client_that_left_a_held_request_does_not_delay_the_end() -> None:
    async with http_peer() as peer, ClientSession() as client:
        with peer.hold():
            held = asyncio.create_task(client.get(peer.url))
            await peer.requested()
            held.cancel()


async def test_waiting_for_requests_that_never_come_times_out(peer: HttpPeer) -> None:
    with pytest.raises(TimeoutError):
        await peer.requested(1, timeout=0.01)
