"""The session lent to actions: redirects are refused unless they were asked for."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest
from aiohttp import ClientConnectorError, ClientSession

from keptn_remedy import PermanentError
from keptn_remedy.engine.runtime import text_of
from keptn_remedy.http_client import lent_session, retry_after
from keptn_remedy.testing.http_peer import HttpPeer, http_peer

SECRETS = {
    "Authorization": "Bearer secret",
    "Cookie": "session=secret",
    "X-Api-Key": "secret",
    "Api-Token": "secret",
}


@dataclass(frozen=True)
class Two:
    """Two hosts, the first of which redirects, and the session."""

    http: ClientSession
    near: HttpPeer
    far: HttpPeer


@pytest.fixture
async def two() -> AsyncIterator[Two]:
    async with AsyncExitStack() as stack:
        enter = stack.enter_async_context
        yield Two(await enter(lent_session()), await enter(http_peer()), await enter(http_peer()))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def test_a_redirect_is_refused_and_not_followed(method: str, status: int, two: Two) -> None:
    two.near.answer(status, headers={"Location": f"{two.far.url}/elsewhere?token=secret"})
    with pytest.raises(PermanentError) as refused:
        await two.http.request(method, two.near.url, headers=SECRETS)
    assert f"{method} 127.0.0.1 answered {status} " in str(refused.value)
    assert f"a redirect to {two.far.url}: correct the address, or" in str(refused.value)
    assert "secret" not in str(refused.value)
    assert two.far.requests == []


async def test_each_shorthand_refuses_it(two: Two) -> None:
    two.near.answer(301, headers={"Location": two.far.url}, times=None)
    http = two.http
    for send in (http.get, http.post, http.put, http.patch, http.delete, http.head, http.options):
        with pytest.raises(PermanentError, match="a redirect to"):
            await send(two.near.url)
    assert two.far.requests == []


async def test_who_looks_at_the_status_sees_the_redirect(two: Two) -> None:
    two.near.answer(307, headers={"Location": two.far.url})
    async with two.http.post(two.near.url, raise_for_status=False) as answer:
        assert answer.status == 307
    assert two.far.requests == []


@pytest.mark.parametrize("location", [None, "http://["])
async def test_a_redirect_to_nowhere_is_refused_too(location: str | None, two: Two) -> None:
    two.near.answer(302, headers={"Location": location} if location else {})
    with pytest.raises(PermanentError, match="a redirect: correct the address"):
        await two.http.post(two.near.url)


async def test_one_that_was_asked_for_is_followed_without_the_secrets(two: Two) -> None:
    two.near.answer(307, headers={"Location": two.far.url})
    two.far.answer(json={"purged": True})
    headers = {**SECRETS, "Accept": "application/json"}
    async with two.http.post(
        two.near.url, json={"zone": 1}, headers=headers, allow_redirects=True
    ) as answer:
        assert await answer.json() == {"purged": True}
    [first], [second] = two.near.requests, two.far.requests
    assert {name: first.headers[name] for name in SECRETS} == SECRETS
    assert (second.method, second.body) == ("POST", first.body)
    assert second.headers["Accept"] == "application/json"
    assert not set(map(str.lower, second.headers)) & set(map(str.lower, SECRETS))


async def test_on_the_same_host_the_secrets_stay(two: Two) -> None:
    two.near.answer(307, headers={"Location": "/v2"})
    two.near.answer()
    async with two.http.get(two.near.url, headers=SECRETS, allow_redirects=True):
        pass
    assert {name: two.near.requests[1].headers[name] for name in SECRETS} == SECRETS


async def test_the_secrets_are_back_where_the_way_ends_at_the_first_host(two: Two) -> None:
    key = {"X-Api-Key": "secret"}
    two.near.answer(307, headers={"Location": two.far.url})
    two.far.answer(307, headers={"Location": f"{two.near.url}/v2"})
    two.near.answer()
    async with two.http.get(two.near.url, headers=key, allow_redirects=True):
        pass
    assert "X-Api-Key" not in two.far.requests[0].headers
    assert two.near.requests[1].headers["X-Api-Key"] == "secret"


WEDNESDAY = "Wed, 21 Oct 2026 07:28:00 GMT"
ABSURD = ["Mon, 01 Jan 99999999999999999999", "Wed, 21 Oct 2026 07:28:00 +99999999999999"]


@pytest.mark.parametrize(
    "date", ["Mon, 01 Jan 99999999999999999999", f"{WEDNESDAY[:-3]}+99999999999999"]
)
def test_dates_beyond_the_calendar_name_no_time(date: str) -> None:
    assert retry_after({"Date": date}) is None
    assert retry_after({"Date": date, "Retry-After": WEDNESDAY}) is None
    assert retry_after({"Date": WEDNESDAY, "Retry-After": date}) is None
    assert retry_after({"Date": date, "Retry-After": "7"}) == 7


async def test_a_peer_that_is_gone_is_told_in_plain_words() -> None:
    async with http_peer() as gone:
        url = gone.url
    async with lent_session() as http:
        with pytest.raises(ClientConnectorError) as failed:
            await http.get(url)
    assert (
        text_of(failed.value)
        == f"{url.removeprefix('http://')} can't be reached: Connection refused"
    )
