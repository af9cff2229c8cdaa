"""toggle-feature against servers that fail: what is retried, and what the message says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiohttp import web
from pytest_aiohttp import AiohttpServer

from keptn_remedy import PermanentError, TemporaryError
from keptn_remedy.testing.http_peer import HttpPeer, http_peer
from keptn_remedy_actions.toggle_feature import ToggleFeature, ToggleFeatureSettings
from tests.actions.driving import Driven, driven

TOKEN = "*:*.very-secret"
CLIENT_TOKEN = "default:production.secret-too"


def strategy(identity: str, **fields: Any) -> dict[str, Any]:
    return {"id": identity, "name": "flexibleRollout", **fields}


def state(*, enabled: bool, strategies: Any = ()) -> dict[str, Any]:
    """The answer to reading a flag."""
    environment = {"enabled": enabled, "strategies": list(strategies)}
    return {
        "environments": [
            {"name": "development", **environment},
            {"name": "production", **environment},
        ]
    }


@pytest.fixture
async def peer() -> AsyncIterator[HttpPeer]:
    async with http_peer() as peer:
        yield peer


def driving(
    url: str, *, stage: str = "production", **settings: Any
) -> AbstractAsyncContextManager[Driven]:
    known = {"unleash_url": url, "unleash_api_token": TOKEN, "unleash_timeout_seconds": 2}
    return driven(ToggleFeature(ToggleFeatureSettings(**{**known, **settings})), stage=stage)


def asked(peer: HttpPeer) -> list[str]:
    return [f"{request.method} {request.path}" for request in peer.requests]


FLAG = "/api/admin/projects/default/features/Promo"
PLACE = "Promo in production \\(Unleash project default\\)"
REFUSED = f"Unleash refuses to switch {PLACE}: "


def refusal(name: str, message: str = "because", **more: Any) -> dict[str, Any]:
    return {"id": "1", "name": name, "message": message, "details": [], **more}


async def test_on_is_read_to_plan_read_again_switched_and_read_back(peer: HttpPeer) -> None:
    peer.answer(json=state(enabled=False), times=2)
    peer.answer()
    peer.answer(json=state(enabled=True))
    async with driving(peer.url) as drive:
        outcome = await drive.run({"Promo": "on"})
    assert outcome.message == "Promo on in production (Unleash project default)"
    assert asked(peer) == [
        f"GET {FLAG}",
        f"GET {FLAG}",
        f"POST {FLAG}/environments/production/on",
        f"GET {FLAG}",
    ]
    assert {request.headers["Authorization"] for request in peer.requests} == {TOKEN}


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, refusal("ValidationError"), f"{REFUSED}400 ValidationError because"),
        (400, refusal("BadDataError"), f"{REFUSED}400 BadDataError because"),
        (400, refusal("ArchivedFeatureError"), "flag Promo of Unleash project default is archived"),
        (401, refusal("UnauthorizedError"), "does not know the token: set UNLEASH_API_TOKEN"),
        (401, refusal("AuthenticationRequired"), "does not know the token"),
        (
            403,
            refusal("PermissionError", permissions=["SKIP_CHANGE_REQUEST"]),
            f"{REFUSED}change requests are required there; .* permission SKIP_CHANGE_REQUEST",
        ),
        (
            403,
            refusal("PermissionError", permissions=["UPDATE_FEATURE_ENVIRONMENT", "X"]),
            f"{REFUSED}the account .* lacks the permission UPDATE_FEATURE_ENVIRONMENT or X",
        ),
        (
            403,
            {"message": "invalid token: expected a different token type for this endpoint"},
            "UNLEASH_API_TOKEN is an application's token",
        ),
        (403, refusal("NoAccessError"), f"{REFUSED}403 NoAccessError because"),
        (403, refusal("InvalidOperationError"), f"{REFUSED}403 InvalidOperationError"),
        (404, refusal("NotFoundError", "no such thing"), "flag Promo is unknown .* no such thing"),
        (405, refusal("NotImplementedError"), f"{REFUSED}405 NotImplementedError"),
        (409, refusal("ConflictError"), f"{REFUSED}409 ConflictError because"),
        (413, b"<html>too large</html>", f"{REFUSED}413"),
        (415, refusal("ContentTypeError"), f"{REFUSED}415 ContentTypeError"),
        (422, refusal("DisabledError"), f"{REFUSED}422 DisabledError"),
        (403, b"<html>blocked by the firewall</html>", f"{REFUSED}403"),
        (400, b'{"message": 7}', f"{REFUSED}400"),
    ],
)
async def test_what_unleash_refuses_for_good_is_not_tried_again(
    status: int, body: Any, message: str, peer: HttpPeer
) -> None:
    peer.answer(json=state(enabled=False), times=2)
    answer_with(peer, status, body)
    async with driving(peer.url) as drive:
        plan = await drive.plan({"Promo": "on"})
        with pytest.raises(PermanentError, match=message) as caught:
            await drive.apply(plan)
    assert "secret" not in str(caught.value)


def answer_with(peer: HttpPeer, status: int, body: Any, **more: Any) -> None:
    if isinstance(body, bytes):
        peer.answer(status, body=body, **more)
    else:
        peer.answer(status, json=body, **more)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (408, b"", "can't answer: 408"),
        (425, b"", "can't answer: 425"),
        (429, refusal("RateLimitError"), "limits the rate of requests: 429 RateLimitError"),
        (500, refusal("InternalError"), "can't answer: 500 InternalError$"),
        (502, b"<html>bad gateway</html>", "can't answer: 502"),
        (503, {"message": "Unleash is currently in maintenance mode."}, "is in maintenance mode"),
        (503, b"", "can't answer: 503"),
        (504, b"", "can't answer: 504"),
    ],
)
async def test_what_may_heal_is_worth_another_attempt(
    status: int, body: Any, message: str, peer: HttpPeer
) -> None:
    answer_with(peer, status, body)
    peer.answer(json=state(enabled=False), times=2)
    answer_with(peer, status, body)
    peer.answer(json=state(enabled=False))
    async with driving(peer.url) as drive:
        with pytest.raises(TemporaryError, match=message):
            await drive.plan({"Promo": "on"})
        plan = await drive.plan({"Promo": "on"})
        with pytest.raises(TemporaryError, match=message):
            await drive.apply(plan)
        await drive.apply(plan)


@pytest.mark.parametrize(
    ("header", "delay"),
    [
        ("7", 7),
        (timedelta(hours=1), 3600),
        (timedelta(hours=-1), 0),
        ("soon", None),
        ("", None),
    ],
    ids=["seconds", "a date", "a past date", "nonsense", "nothing"],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_handed_on(
    status: int, header: str | timedelta, delay: float | None, peer: HttpPeer
) -> None:
    if isinstance(header, timedelta):
        header = format_datetime(datetime.now(UTC) + header, usegmt=True)
    peer.answer(status, headers={"Retry-After": header})
    async with driving(peer.url) as drive:
        with pytest.raises(TemporaryError) as caught:
            await drive.plan({"Promo": "on"})
    assert caught.value.delay == (None if delay is None else pytest.approx(delay, abs=60))


@pytest.mark.parametrize("body", [b"", b"<html>please log in</html>", b"[]", b'{"environments":0}'])
async def test_a_server_that_is_no_unleash_is_told_so(body: bytes, peer: HttpPeer) -> None:
    peer.answer(body=body)
    async with driving(peer.url) as drive:
        with pytest.raises(PermanentError, match="does not answer as Unleash's admin API"):
            await drive.plan({"Promo": "on"})


async def test_a_redirect_is_not_followed(peer: HttpPeer) -> None:
    peer.answer(301, headers={"Location": "https://unleash.example.com/"})
    async with driving(peer.url) as drive:
        with pytest.raises(PermanentError, match=r"redirects to https://unleash\.example\.com/: "):
            await drive.plan({"Promo": "on"})
    assert len(peer.requests) == 1


async def test_a_connection_closed_without_an_answer_is_worth_another_attempt(
    peer: HttpPeer,
) -> None:
    peer.answer(json=state(enabled=False), times=2)
    peer.drop_next()
    peer.answer(json=state(enabled=False))
    async with driving(peer.url) as drive:
        plan = await drive.plan({"Promo": "on"})
        with pytest.raises(TemporaryError, match="can't be reached"):
            await drive.apply(plan)
        await drive.apply(plan)
    switching = [f"GET {FLAG}", f"POST {FLAG}/environments/production/on"]
    assert asked(peer)[1:] == switching * 2


async def test_a_server_that_hangs_is_given_up(peer: HttpPeer) -> None:
    async with driving(peer.url, unleash_timeout_seconds=0.05) as drive:
        with peer.hold(), pytest.raises(TemporaryError, match=r"not answer within 0\.05 s"):
            await drive.plan({"Promo": "on"})


async def test_an_answer_that_trickles_is_given_up(aiohttp_server: AiohttpServer) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    url = await serving(aiohttp_server, trickle)
    async with driving(url, unleash_timeout_seconds=0.1) as drive:
        with pytest.raises(TemporaryError, match=r"not answer within 0\.1 s"):
            await drive.plan({"Promo": "on"})


async def serving(aiohttp_server: AiohttpServer, handler: Any) -> str:
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    server = await aiohttp_server(app)
    return str(server.make_url("/"))


@pytest.mark.parametrize("name", ["...", "a~b_c-1.x", "it's(new)!*"])
async def test_a_name_is_sent_as_it_is(name: str, aiohttp_server: AiohttpServer) -> None:
    paths: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        paths.append(request.raw_path)
        environment = {"name": name, "enabled": True, "strategies": [strategy(name)]}
        return web.json_response({"environments": [environment]})

    url = await serving(aiohttp_server, answer)
    async with driving(url, stage=name, unleash_project=name) as drive:
        plan = await drive.plan({name: "off"})
        await drive.apply(plan)
    flag = f"/api/admin/projects/{name}/features/{name}"
    assert paths == [flag, flag, f"{flag}/environments/{name}/off"]


@pytest.mark.parametrize(
    "name",
    [".", "..", "../x", "..\\x", "a/b", "a%2Fb", "a#b", "a?b", "a b", "a;b", "Größe", "a" * 101],
)
async def test_a_name_that_unleash_never_gives_is_never_sent(name: str, peer: HttpPeer) -> None:
    for project, flag in (("x", name), (name, "x")):
        async with driving(peer.url, unleash_project=project) as drive:
            with pytest.raises(PermanentError, match="can't be the name of a flag"):
                await drive.plan({flag: "on"})
    assert peer.requests == []


async def test_no_flag_is_switched_before_all_were_read(peer: HttpPeer) -> None:
    peer.answer(json=state(enabled=False), times=2)
    peer.answer(500)
    async with driving(peer.url) as drive:
        with pytest.raises(TemporaryError):
            await drive.plan({"A": "on", "B": "on", "C": "on"})
    assert {request.method for request in peer.requests} == {"GET"}


async def test_a_refusal_in_the_middle_puts_back_what_was_switched(peer: HttpPeer) -> None:
    peer.answer(json=state(enabled=True, strategies=[strategy("1")]), times=3)  # plan, A
    peer.answer()  # A off
    peer.answer(json=state(enabled=True, strategies=[strategy("1")]))  # B
    peer.answer(403, json=refusal("PermissionError", permissions=["X"]))  # B off
    peer.answer(json=state(enabled=True, strategies=[strategy("1")]))  # B is as it was
    peer.answer(json=state(enabled=False, strategies=[strategy("1")]))  # A is not
    peer.answer()  # A on
    peer.answer(json=state(enabled=True, strategies=[strategy("1")]))
    async with driving(peer.url) as drive:
        outcome = await drive.run({"A": "off", "B": "off"})
    assert outcome.status == "errored"
    assert outcome.message.startswith("Unleash refuses to switch B in production")
    assert outcome.message.endswith("lacks the permission X; undone")
    features = FLAG.removesuffix("Promo")
    assert asked(peer)[2:] == [
        f"GET {features}A",
        f"POST {features}A/environments/production/off",
        f"GET {features}B",
        f"POST {features}B/environments/production/off",
        f"GET {features}B",
        f"GET {features}A",
        f"POST {features}A/environments/production/on",
        f"GET {features}A",
    ]


async def test_what_heals_in_time_is_done(peer: HttpPeer) -> None:
    peer.answer(502)
    peer.answer(json=state(enabled=False), times=2)
    peer.drop_next()
    peer.answer(429, headers={"Retry-After": "5"})
    peer.answer(json=state(enabled=False))
    peer.answer()
    peer.answer(503)
    peer.answer(json=state(enabled=True))
    async with driving(peer.url) as drive:
        outcome = await drive.run({"Promo": "on"})
    assert outcome.result == "pass"


async def test_undo_goes_on_when_one_flag_can_not_be_put_back(peer: HttpPeer) -> None:
    peer.answer(json=state(enabled=True, strategies=[strategy("1")]), times=3)
    async with driving(peer.url) as drive:
        plan = await drive.plan({"A": "off", "B": "off", "C": "off"})
        peer.requests.clear()
        peer.answer(json=state(enabled=False, strategies=[strategy("1")]))  # C
        peer.answer()
        peer.answer(json=state(enabled=True, strategies=[strategy("1")]))
        peer.answer(404, json=refusal("NotFoundError"), times=3)  # B
        peer.answer(500)  # A
        with pytest.raises(TemporaryError, match="can't answer"):
            await drive.undo(plan)
    features = FLAG.removesuffix("Promo")
    assert asked(peer) == [
        f"GET {features}C",
        f"POST {features}C/environments/production/on",
        f"GET {features}C",
        f"GET {features}B",
        f"GET {features}B/environments/production",
        f"GET {features.removesuffix('/')}",
        f"GET {features}A",
    ]


async def test_undo_switches_off_even_without_the_right_to_delete_strategies(
    peer: HttpPeer,
) -> None:
    peer.answer(json=state(enabled=False))
    peer.answer(json=state(enabled=True, strategies=[strategy("new-one")]))
    peer.answer(403, json=refusal("PermissionError", permissions=["DELETE_FEATURE_STRATEGY"]))
    peer.answer()
    peer.answer(json=state(enabled=False, strategies=[strategy("new-one")]))
    async with driving(peer.url) as drive:
        plan = await drive.plan({"Promo": "on"})
        told = await drive.undo(plan)
    assert "the strategy that Unleash added to Promo stays" in told
    assert "lacks the permission DELETE_FEATURE_STRATEGY" in told
    assert asked(peer)[2:] == [
        f"DELETE {FLAG}/environments/production/strategies/new-one",
        f"POST {FLAG}/environments/production/off",
        f"GET {FLAG}",
    ]


async def test_a_plan_for_unleash_is_not_carried_out_elsewhere(peer: HttpPeer) -> None:
    peer.answer(json=state(enabled=False))
    async with driving(peer.url, flagd_file="flags.json") as drive:
        plan = await drive.plan({"Promo": "on"})
        drive.action.settings.unleash_url = None
        with pytest.raises(
            PermanentError,
            match="planned for Unleash, which is no longer configured: set UNLEASH_URL",
        ):
            await drive.apply(plan)


async def test_old_releases_answer_for_an_archived_flag(peer: HttpPeer) -> None:
    peer.answer(json={**state(enabled=True), "archived": True})
    async with driving(peer.url) as drive:
        with pytest.raises(PermanentError, match=r"project default is archived$"):
            await drive.plan({"Promo": "on"})


async def test_nothing_of_an_answer_can_steer_a_terminal(peer: HttpPeer) -> None:
    peer.answer(404, json=refusal("Not\x1bFound", "no \x1b[31mflag\x07 \u202ehere"), times=None)
    async with driving(peer.url) as drive:
        with pytest.raises(PermanentError, match="404 NotFound no ") as refused:
            await drive.plan({"Promo": "on"})
    assert str(refused.value).isprintable()


# --- what applications see -----------------------------------------------------------------------


def told(*, enabled: bool) -> dict[str, Any]:
    """The answer to an application."""
    feature = {"name": "Promo", "enabled": enabled, "strategies": [{"name": "default"}]}
    return {"version": 2, "features": [feature]}


async def verified(peer: HttpPeer, wish: str, **settings: Any) -> Any:
    """Plan, then verify against the answers that the peer gives next."""
    async with driving(peer.url, unleash_client_token=CLIENT_TOKEN, **settings) as drive:
        return await drive.verify(await drive.plan({"Promo": wish}))


async def test_it_looks_until_applications_see_it_and_leaves_no_trace(peer: HttpPeer) -> None:
    peer.answer(json=state(enabled=False), times=2)
    peer.answer(json=told(enabled=True))  # Unleash and Edge cache
    peer.answer(json=told(enabled=False))
    outcome = await verified(peer, "off")
    assert outcome.result == "pass"
    assert outcome.details == {"seen": {"Promo": "off"}}
    assert asked(peer)[2:] == ["GET /api/client/features"] * 2
    assert {request.headers["Authorization"] for request in peer.requests[2:]} == {CLIENT_TOKEN}


@pytest.mark.parametrize("status", [401, 403, 404, 500, 503])
async def test_off_is_not_believed_when_nothing_could_be_fetched(
    status: int, peer: HttpPeer
) -> None:
    peer.answer(json=state(enabled=False), times=2)
    peer.answer(status, times=None)
    outcome = await verified(peer, "off", unleash_verify_seconds=0.3)
    assert outcome.result == "warning"
    assert "nothing could be fetched with UNLEASH_CLIENT_TOKEN" in outcome.message
    assert "secret" not in outcome.message


async def test_a_flag_that_applications_do_not_know_is_not_off(peer: HttpPeer) -> None:
    peer.answer(json=state(enabled=False), times=2)
    peer.answer(json={"version": 2, "features": []}, times=None)
    outcome = await verified(peer, "off", unleash_verify_seconds=0.3)
    assert outcome.result == "warning"
    assert "Promo unknown (UNLEASH_CLIENT_TOKEN does not show this flag)" in outcome.message


@pytest.mark.parametrize("body", [b"<html>please log in</html>", b"{}", b"[1]"])
async def test_what_is_no_answer_of_unleash_is_not_believed(body: bytes, peer: HttpPeer) -> None:
    peer.answer(json=state(enabled=False), times=2)
    peer.answer(body=body, times=None)
    outcome = await verified(peer, "off", unleash_verify_seconds=0.3)
    assert outcome.result == "warning"


async def test_a_server_that_hangs_ends_the_looking_in_time(peer: HttpPeer) -> None:
    peer.answer(json=state(enabled=False), times=2)
    async with driving(
        peer.url, unleash_client_token=CLIENT_TOKEN, unleash_verify_seconds=0.3
    ) as drive:
        plan = await drive.plan({"Promo": "off"})
        verifying = asyncio.create_task(drive.verify(plan))
        await peer.requested(2)
        with peer.hold():
            async with asyncio.timeout(5):
                outcome = await verifying
    assert outcome.result == "warning"
    assert "what applications see: Promo unknown" in outcome.message


async def test_cancelling_the_looking_leaves_nothing_behind(peer: HttpPeer) -> None:
    peer.answer(json=state(enabled=False), times=2)
    peer.answer(json=told(enabled=True), times=None)
    async with driving(peer.url, unleash_client_token=CLIENT_TOKEN) as drive:
        plan = await drive.plan({"Promo": "off"})
        tasks = asyncio.all_tasks()
        verifying = asyncio.create_task(drive.verify(plan))
        await peer.requested(3)
        verifying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await verifying
        assert asyncio.all_tasks() <= tasks
