"""The client of Keptn's API: refusals, pauses, credentials that change, and what went wrong."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from keptn_remedy.keptn.api import ApiClient, oauth
from keptn_remedy.keptn.api.connections import Connections
from keptn_remedy.keptn.api.credentials import Credentials, Secret
from keptn_remedy.keptn.api.oauth import Client, ClientCredentials
from keptn_remedy.keptn.api.of_settings import api_of
from keptn_remedy.keptn.api.pauses import MOST_PATHS
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.variables import build
from keptn_remedy.testing import HttpPeer, http_peer
from tests.babbling import babbling
from tests.clocks import StandingClock
from tests.log_lines import captured_logs
from tests.waiting import until

DISCOVERY = "/.well-known/openid-configuration"


@pytest.fixture
async def keptn() -> AsyncIterator[HttpPeer]:
    async with http_peer() as peer:
        yield peer


@pytest.fixture
async def provider() -> AsyncIterator[HttpPeer]:
    """An identity provider."""
    async with http_peer() as peer:
        yield peer


@pytest.fixture
def clock() -> StandingClock:
    return StandingClock()


@pytest.fixture
async def api(keptn: HttpPeer, clock: StandingClock) -> AsyncIterator[ApiClient]:
    made = ApiClient(f"{keptn.url}/api", Credentials(Secret("a-token")), clock=clock)
    yield made
    await made.close()


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_after_a_refusal_nothing_is_sent_until_a_pause_is_over_each_longer_than_the_last(
    status: int, keptn: HttpPeer, api: ApiClient, clock: StandingClock
) -> None:
    keptn.answer(status, times=None)
    pauses: list[float] = []
    for _ in range(8):
        assert (await api.get("v1/auth", {})).status == status
        held = await api.get("v1/auth", {})
        assert (held.status, held.reason) == (None, f"answered {status}")
        assert held.retry_after is not None
        pauses.append(held.retry_after)
        clock.forward(held.retry_after)
    assert len(keptn.requests) == 8
    assert 0.75 <= pauses[0] <= 1.25
    assert all(later > earlier for earlier, later in pairwise(pauses[:5]))
    assert 22 <= pauses[-1] <= 38


async def test_requests_that_are_refused_together_count_once(
    keptn: HttpPeer, api: ApiClient
) -> None:
    keptn.answer(401, times=None)
    with keptn.hold():
        asked = [asyncio.create_task(api.get("v1/auth", {})) for _ in range(20)]
        await keptn.requested(20)
    await asyncio.gather(*asked)
    held = await api.get("v1/auth", {})
    assert held.retry_after is not None
    assert held.retry_after < 1.3


async def test_after_a_pause_one_request_goes_first(
    keptn: HttpPeer, api: ApiClient, clock: StandingClock
) -> None:
    keptn.answer(429)
    await api.get("v1/auth", {})
    clock.forward(2)
    with keptn.hold():
        asked = [asyncio.create_task(api.get("v1/auth", {})) for _ in range(20)]
        await keptn.requested(2)
    statuses = sorted(reply.status or 0 for reply in await asyncio.gather(*asked))
    assert statuses == [*[0] * 19, 200]
    assert (await api.get("v1/auth", {})).status == 200


async def test_retry_after_is_heeded(keptn: HttpPeer, api: ApiClient) -> None:
    keptn.answer(429, headers={"Retry-After": "20"})
    await api.get("v1/auth", {})
    held = await api.get("v1/auth", {})
    assert held.retry_after is not None
    assert 15 <= held.retry_after <= 25


async def test_a_token_that_was_replaced_is_read_and_used_at_once(
    keptn: HttpPeer, clock: StandingClock, tmp_path: Path
) -> None:
    path, mask = tmp_path / "token", Mask()
    path.write_text("new-token\n")
    credentials = Credentials(Secret("old-token", path, mask.hide))
    api = ApiClient(keptn.url, credentials, clock=clock)
    keptn.answer(401)
    assert (await api.get("v1/auth", {})).status == 200
    assert [request.headers["x-token"] for request in keptn.requests] == ["old-token", "new-token"]
    assert mask.text("new-token") == "**********"
    path.unlink()
    with captured_logs() as lines:
        for _ in range(3):
            keptn.answer(401)
            assert (await api.get("v1/auth", {})).status == 401
            clock.forward(60)
    assert [line["message"] for line in lines.all] == ["a secret can't be read again"]
    await api.close()


async def test_a_token_file_that_is_empty_at_first_is_read_when_the_request_is_refused(
    keptn: HttpPeer, tmp_path: Path
) -> None:
    path = tmp_path / "token"
    path.write_text("")
    variables = {"KEPTN_API_TOKEN_FILE": str(path)}
    api = api_of(Settings(), build(KeptnSettings, "", variables), StandingClock(), Mask())
    api = ApiClient(keptn.url, api.credentials)
    keptn.answer(401)
    path.write_text("a-token")
    assert (await api.get("v1/auth", {})).status == 200
    await api.close()
    assert [request.headers.get("x-token") for request in keptn.requests] == [None, "a-token"]


async def test_a_line_break_after_a_token_in_the_environment_is_left_out() -> None:
    keptn = build(KeptnSettings, "", {"KEPTN_API_TOKEN": "a-token\n"})
    credentials = api_of(Settings(), keptn, StandingClock(), Mask()).credentials
    assert credentials
    assert await credentials.headers() == {"x-token": "a-token"}


async def test_a_403_pauses_its_own_path_alone(
    keptn: HttpPeer, api: ApiClient, clock: StandingClock
) -> None:
    for _ in range(3):
        keptn.answer(403)
        assert (await api.post("controlPlane/v1/log", b"{}")).status == 403
        held = await api.post("controlPlane/v1/log", b"{}")
        assert (held.status, held.is_refused) == (None, True)
        assert (await api.get("controlPlane/v1/log", {})).status == 200
        assert (await api.post("v1/event", b"{}")).status == 200
        clock.forward(30)
    assert (await api.post("controlPlane/v1/log", b"{}")).status == 200
    keptn.answer(401)
    await api.get("v1/auth", {})
    assert (await api.post("v1/event", b"{}")).status is None


async def test_of_many_paths_that_are_forbidden_the_last_ones_are_paused(
    keptn: HttpPeer, api: ApiClient
) -> None:
    keptn.answer(403, times=None)
    for number in range(MOST_PATHS + 1):
        await api.get(f"resource/{number}", {})
    assert (await api.get(f"resource/{MOST_PATHS}", {})).status is None
    assert (await api.get("resource/0", {})).status == 403


# OAuth


def login(
    provider: HttpPeer, clock: StandingClock, secret: Secret | None = None, **client: str
) -> ClientCredentials:
    where = client or {"discovery_url": f"{provider.url}{DISCOVERY}"}
    scopes = ("openid", "keptn")
    who = Client("remedy", secret or Secret("the-secret"), scopes, **where)
    return ClientCredentials(who, Connections(), clock)


class AnyLogin:
    """Gives a token without asking anybody."""

    async def access_token(self) -> str:
        return "an-access-token"

    async def renew(self, *, is_known: bool = False) -> None:
        pass

    async def close(self) -> None:
        pass


@pytest.fixture
async def behind_login(
    keptn: HttpPeer, provider: HttpPeer, clock: StandingClock
) -> AsyncIterator[ApiClient]:
    credentials = Credentials(Secret("a-token"), login(provider, clock))
    made = ApiClient(keptn.url, credentials, clock=clock)
    yield made
    await made.close()


def give(provider: HttpPeer, token: str, **more: object) -> None:
    provider.answer(json={"access_token": token, "token_type": "bearer", **more})


def found(provider: HttpPeer) -> None:
    provider.answer(json={"token_endpoint": f"{provider.url}/token"})


def carried(keptn: HttpPeer) -> list[str]:
    return [request.headers["Authorization"].removeprefix("Bearer ") for request in keptn.requests]


async def test_the_token_endpoint_is_discovered_and_its_token_used_until_it_nearly_expires(
    keptn: HttpPeer, provider: HttpPeer, clock: StandingClock, behind_login: ApiClient
) -> None:
    found(provider)
    give(provider, "first", expires_in=300)
    give(provider, "second", expires_in="300")
    for seconds in (0, 269, 2):
        clock.forward(seconds)
        assert (await behind_login.get("v1/auth", {})).status == 200
    assert carried(keptn) == ["first", "first", "second"]
    assert keptn.requests[0].headers["x-token"] == "a-token"
    assert [request.path for request in provider.requests] == [DISCOVERY, "/token", "/token"]
    asked = provider.requests[1]
    assert asked.body == b"grant_type=client_credentials&scope=openid+keptn"
    assert asked.headers["Authorization"].startswith("Basic ")


async def test_a_refused_access_token_is_replaced_once(
    keptn: HttpPeer, provider: HttpPeer, behind_login: ApiClient
) -> None:
    found(provider)
    give(provider, "revoked")
    give(provider, "good")
    keptn.answer(401)
    assert (await behind_login.get("v1/auth", {})).status == 200
    assert carried(keptn) == ["revoked", "good"]


async def test_a_403_throws_no_good_access_token_away(
    keptn: HttpPeer, provider: HttpPeer, clock: StandingClock, behind_login: ApiClient
) -> None:
    found(provider)
    give(provider, "first")
    keptn.answer(403)
    assert (await behind_login.get("v1/auth", {})).status == 403
    clock.forward(60)
    give(provider, "with-rights")
    keptn.answer(403)
    assert (await behind_login.get("v1/auth", {})).status == 200
    clock.forward(60)
    provider.answer(503)  # it serves on while there is no other
    keptn.answer(403)
    assert (await behind_login.get("v1/auth", {})).status == 403
    assert (await behind_login.get("v1/metadata", {})).status == 200
    assert carried(keptn) == ["first", "first", *["with-rights"] * 3]


async def test_a_provider_that_wants_the_secret_in_the_body_gets_it_there(
    provider: HttpPeer, clock: StandingClock
) -> None:
    provider.answer(401, json={"error": "invalid_client"})
    give(provider, "good")
    made = login(provider, clock, token_url=f"{provider.url}/token")
    assert await made.access_token() == "good"
    assert b"client_id=remedy&client_secret=the-secret" in provider.requests[1].body
    assert "Authorization" not in provider.requests[1].headers
    await made.close()


async def test_a_client_secret_that_was_replaced_is_read(
    provider: HttpPeer, clock: StandingClock, tmp_path: Path
) -> None:
    path = tmp_path / "secret"
    path.write_text("newer-secret")
    provider.answer(401)
    give(provider, "good")
    secret = Secret("old-secret", path)
    made = login(provider, clock, secret, token_url=f"{provider.url}/token")
    assert await made.access_token() == "good"
    assert b"newer-secret" in provider.requests[1].body
    await made.close()


async def test_a_login_that_fails_is_told_without_the_secret_and_not_tried_at_once_again(
    keptn: HttpPeer, provider: HttpPeer, clock: StandingClock, behind_login: ApiClient
) -> None:
    provider.answer(503, times=2)
    first, held = [await behind_login.get("v1/auth", {}) for _ in range(2)]
    assert first.reason == held.reason
    assert first.reason == f"wants a login, and {provider.url}{DISCOVERY} answered 503"
    assert (first.status, first.doubtful, len(provider.requests)) == (None, False, 1)
    clock.forward(2)
    await behind_login.get("v1/auth", {})
    clock.forward(5)
    found(provider)
    error = {"error": "invalid_scope", "error_description": "no such scope"}
    provider.answer(400, json=error)
    reason = (await behind_login.get("v1/auth", {})).reason
    assert reason == (
        f"wants a login, and {provider.url}/token answered 400: invalid_scope no such scope"
    )
    assert keptn.requests == []


@pytest.mark.parametrize("answer", [{}, {"access_token": ""}, {"access_token": 7}, []])
async def test_a_response_without_a_token_is_told(
    answer: object, provider: HttpPeer, behind_login: ApiClient
) -> None:
    found(provider)
    provider.answer(json=answer)
    reason = (await behind_login.get("v1/auth", {})).reason
    assert reason == f"wants a login, and {provider.url}/token answered 200 without a token"


async def test_a_token_serves_until_it_expires_while_the_provider_is_away(
    provider: HttpPeer, clock: StandingClock
) -> None:
    give(provider, "good", expires_in=300)
    provider.answer(503, times=None)
    made = login(provider, clock, token_url=f"{provider.url}/token")
    for seconds in (0, 280, 0.5, 10):
        clock.forward(seconds)
        assert await made.access_token() == "good"
    assert len(provider.requests) == 3
    clock.forward(10)
    with pytest.raises(Exception, match="answered 503"):
        await made.access_token()
    await made.close()


async def test_a_provider_that_hangs_fails_all_who_wait_for_it_at_once(
    provider: HttpPeer, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oauth, "LOGIN_SECONDS", 0.1)
    made = login(provider, clock)
    with provider.hold():
        async with asyncio.timeout(5):
            told = await asyncio.gather(
                *(made.access_token() for _ in range(50)), return_exceptions=True
            )
    why = f"wants a login, and {provider.url}{DISCOVERY} didn't answer within 0.1 s"
    assert {str(each) for each in told} == {why}
    assert len(provider.requests) == 1
    await made.close()


async def test_a_provider_that_hangs_holds_nobody_up_whose_token_still_serves(
    provider: HttpPeer, clock: StandingClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(oauth, "SERVED_SECONDS", 0.02)
    give(provider, "good", expires_in=300)
    give(provider, "next", expires_in=300)
    made = login(provider, clock, token_url=f"{provider.url}/token")
    assert await made.access_token() == "good"
    clock.forward(280)
    with provider.hold():
        async with asyncio.timeout(5):
            for _ in range(50):
                assert await made.access_token() == "good"
    assert await until_other(made, "good") == "next"
    assert len(provider.requests) == 2
    await made.close()


async def until_other(login: ClientCredentials, token: str) -> str:
    found = token

    async def is_other() -> bool:
        nonlocal found
        found = await login.access_token()
        return found != token

    await until(is_other)
    return found


async def test_what_the_login_sends_and_gets_is_hidden(
    provider: HttpPeer, clock: StandingClock
) -> None:
    mask = Mask()
    client = Client("remedy", Secret("the secret", hide=mask.hide), token_url=provider.url)
    made = ClientCredentials(client, Connections(), clock, mask.hide_passing)
    give(provider, "an-access-token")
    await made.access_token()
    basic = provider.requests[0].headers["Authorization"].removeprefix("Basic ")
    assert mask.text(f"{basic} an-access-token") == "********** **********"
    await made.close()


# What is no HTTP


async def test_no_header_is_told_where_the_response_is_no_http() -> None:
    async with babbling() as url:
        api = ApiClient(url, Credentials(Secret("a-token")))
        reply = await api.get("v1/auth", {})
        await api.close()
    assert reply.status is None
    assert reply.doubtful
    assert reply.reason.startswith("broke off: ClientResponseError: ")
    assert "a-token" not in reply.reason
    assert "eaders" not in reply.reason


# The proxy


async def test_from_outside_keptn_is_reached_through_the_proxy_but_for_excepted_networks(
    keptn: HttpPeer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with http_peer() as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        for exceptions in ("127.1.0.0/16", "127.0.0.0/8"):
            monkeypatch.setenv("NO_PROXY", exceptions)
            for connections in (Connections(is_remote=True), Connections()):
                api = ApiClient(f"{keptn.url}/api", connections=connections)
                assert (await api.get("v1/auth", {})).status == 200
                await api.close()
    assert len(proxy.requests) == 1
    assert proxy.requests[0].headers["Host"] == keptn.url.removeprefix("http://")
    assert len(keptn.requests) == 3


async def test_a_proxy_that_is_away_is_named_without_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "")
    api = ApiClient("http://keptn.test/api", connections=Connections(is_remote=True))
    reply = await api.post("v1/event", b"{}")
    await api.close()
    assert reply.reason == "can't be reached through the proxy 127.0.0.1:9"
    assert not reply.doubtful


async def test_an_address_a_proxy_or_a_header_of_no_use_is_a_reply_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def reason(address: str, token: Secret) -> str:
        credentials = Credentials(token, AnyLogin())
        api = ApiClient(address, credentials, Connections(is_remote=True))
        reply = await api.get("v1/auth", {})
        await api.close()
        assert reply.status is None
        return reply.reason

    good = Secret("a-token")
    monkeypatch.setenv("NO_PROXY", "")
    for proxy in ("http://me:secret@proxy:abc", "http://proxy:99999", "socks5://127.0.0.1:9"):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        assert "secret" not in await reason("http://keptn.test/api", good)
    monkeypatch.setenv("HTTP_PROXY", "")
    assert (await reason(f"http://{64 * 'a'}.test/api", good)).startswith("can't be asked: ")
    assert "secret" not in await reason("http://me:secret@127.0.0.1:9/api", good)
    assert "a-\ntoken" not in await reason("http://127.0.0.1:9/api", Secret("a-\ntoken"))
