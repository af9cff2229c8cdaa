"""A remote execution plane: what is polled is passed on once, what is posted says what it means."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from keptn_remedy import events
from keptn_remedy.events import TRIGGERED, Event, Replies, Report
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.control_plane import open_events
from keptn_remedy.keptn.control_plane.over_http import HttpControlPlane
from keptn_remedy.keptn.peer import peer_of
from keptn_remedy.keptn.subscriptions import Filters, Subscription
from keptn_remedy.keptn.transports import Blocked, Receipt, Rejected, Undelivered
from keptn_remedy.keptn.transports.polling import UNVERIFIED, Polling
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.support.variables import SettingsError
from keptn_remedy.testing import HttpPeer, http_peer, triggered
from keptn_remedy.testing.polling_keptn import TOKEN, PollingKeptn
from tests.clocks import StandingClock
from tests.log_lines import captured_logs
from tests.waiting import until

HINT = "; Keptn's API usually ends in /api"
REPLIES = Replies("keptn-remedy")
CONTEXT = "5b1c3d1e-0a52-4f5f-a4ee-6d7e8f901234"


class Plane:
    """A remote execution plane that looks when it is told to, and takes what it is given."""

    def __init__(self, url: str, **settings: Any) -> None:
        of_keptn = {"keptn_api_endpoint": url, "keptn_api_token": TOKEN, **settings}
        keptn = KeptnSettings.model_validate(of_keptn)
        self.clock = StandingClock()
        self.peer = peer_of(Settings(transport="polling"), keptn, Metrics("x"), self.clock, None)
        assert isinstance(self.peer.transport, Polling)
        self.transport = self.peer.transport
        self.given: list[str] = []
        self.answer: Callable[[Event], Receipt] = lambda event: Receipt("accepted", event.id)

    async def accept(self, event: Event) -> Receipt:
        self.given.append(event.id)
        return self.answer(event)

    async def look(self) -> list[str]:
        """What it is given by one look."""
        before = len(self.given)
        await self.transport._poller.look(self.accept)
        return self.given[before:]


@asynccontextmanager
async def plane(url: str, **settings: Any) -> AsyncIterator[Plane]:
    made = Plane(url, **settings)
    try:
        yield made
    finally:
        await made.peer.close()


@pytest.fixture
async def keptn() -> AsyncIterator[PollingKeptn]:
    async with PollingKeptn() as made:
        yield made


@pytest.fixture
async def remote(keptn: PollingKeptn) -> AsyncIterator[Plane]:
    async with plane(keptn.api_url) as made:
        yield made


@pytest.fixture
async def api() -> AsyncIterator[HttpPeer]:
    async with http_peer() as made:
        yield made


def open_task(keptn: PollingKeptn, id_: str, at: datetime | None = None, **scope: str) -> None:
    """Open a task, by default one that was triggered now."""
    attributes = {"time": (at or datetime.now(UTC)).isoformat()}
    if id_ == "t1":
        attributes["shkeptncontext"] = CONTEXT
    keptn.open({**triggered("scale", id=id_, **scope), **attributes})
    keptn.expect_unanswered(id_)


def report() -> Report:
    """A `started` of the task t1."""
    event = {**triggered("scale", id="t1"), "shkeptncontext": CONTEXT}
    return REPLIES.started(events.stored_trigger(orjson.dumps(event)), datetime.now(UTC))


# What is polled


async def test_what_is_open_is_passed_on_once_for_as_long_as_it_is_listed(
    keptn: PollingKeptn, remote: Plane
) -> None:
    open_task(keptn, "t1", service="one")
    assert await remote.look() == ["t1"]
    open_task(keptn, "t2", service="two")
    assert await remote.look() == ["t2"]
    assert await remote.look() == []


async def test_a_long_list_is_read_as_a_whole_although_its_pages_repeat(
    keptn: PollingKeptn, remote: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(open_events, "PAGE_SIZE", 3)
    opened = {f"t{number}" for number in range(1, 12)}
    for id_ in opened:
        open_task(keptn, id_, service=id_)
    assert set(await remote.look()) == opened


async def test_the_events_of_a_service_are_passed_on_in_the_order_in_which_they_were_triggered(
    keptn: PollingKeptn, remote: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = datetime(2026, 11, 30, 12, tzinfo=UTC)
    open_task(keptn, "t4", second + timedelta(milliseconds=100))
    open_task(keptn, "t2", second)
    open_task(keptn, "t3", second)  # a newer one, which Keptn lists before t2
    open_task(keptn, "other", second + timedelta(hours=1), service="orders")
    others_are_asked = asyncio.Event()

    async def is_dispatched(event: Event) -> bool:
        if event.id == "t2":
            await others_are_asked.wait()  # Keptn's answer about the first comes last
        if event.id == "other":
            others_are_asked.set()
        return True

    monkeypatch.setattr(remote.transport._poller, "_is_dispatched", is_dispatched)
    given = await remote.look()
    assert [id_ for id_ in given if id_ != "other"] == ["t2", "t3", "t4"]
    assert given.index("other") < given.index("t2")


async def test_what_the_journal_does_not_take_is_not_overtaken_in_its_service(
    keptn: PollingKeptn, remote: Plane, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def is_dispatched(event: Event) -> bool:
        return True

    monkeypatch.setattr(remote.transport._poller, "_is_dispatched", is_dispatched)
    second = datetime(2026, 11, 30, 12, tzinfo=UTC)
    for number in range(1, 4):
        open_task(keptn, f"t{number}", second + timedelta(seconds=number))
    remote.answer = lambda event: Receipt("unavailable", "the journal can't be written")
    assert await remote.look() == ["t1"]
    remote.answer = lambda event: Receipt("accepted", event.id)
    assert await remote.look() == ["t1", "t2", "t3"]


async def test_what_the_journal_did_not_take_is_passed_on_again(
    keptn: PollingKeptn, remote: Plane
) -> None:
    open_task(keptn, "t1")
    remote.answer = lambda event: Receipt("unavailable", "the disk is full")
    assert await remote.look() == ["t1"]
    remote.answer = lambda event: Receipt("ignored", "no such action here")
    assert await remote.look() == ["t1"]
    assert await remote.look() == []


async def test_filters_let_only_ours_pass(keptn: PollingKeptn) -> None:
    open_task(keptn, "t1", project="shop", stage="prod", service="one")
    open_task(keptn, "t2", project="shop", stage="dev", service="one")
    open_task(keptn, "t3", project="other", stage="prod", service="two")
    settings = {"project_filter": "shop", "stage_filter": "prod,qa", "service_filter": "one,two"}
    async with plane(keptn.api_url, **settings) as filtered:
        assert await filtered.look() == ["t1"]
        assert "project=shop" in keptn.asked[0]
        assert "stage" not in keptn.asked[0]


async def test_a_paused_sequence_is_not_begun(keptn: PollingKeptn, remote: Plane) -> None:
    open_task(keptn, "t1")
    keptn.pause("t1")
    assert await remote.look() == []
    keptn.resume("t1")
    assert await remote.look() == ["t1"]


async def test_what_the_dispatcher_holds_back_waits_for_its_turn(
    keptn: PollingKeptn, remote: Plane
) -> None:
    now = datetime.now(UTC)
    open_task(keptn, "t2", now)
    open_task(keptn, "t1", now - timedelta(seconds=5))
    assert await remote.look() == ["t1"]
    keptn.abort("t1")
    assert await remote.look() == ["t2"]


async def test_what_we_had_begun_before_the_journal_was_lost_does_not_run_again(
    keptn: PollingKeptn, remote: Plane
) -> None:
    open_task(keptn, "t1")
    await remote.transport.send(report())
    assert await remote.look() == []


async def test_without_an_answer_about_the_sequence_a_trigger_is_held_for_a_minute(
    keptn: PollingKeptn, remote: Plane
) -> None:
    open_task(keptn, "t1")
    keptn.fail_at("sequence-execution", 500)
    for seconds in (0, 40, 19):
        remote.clock.forward(seconds)
        assert await remote.look() == []
    remote.clock.forward(2)
    assert await remote.look() == ["t1"]


async def test_subscriptions_may_change(keptn: PollingKeptn, remote: Plane) -> None:
    open_task(keptn, "t1", service="one")
    wanted = [Subscription(TRIGGERED, Filters(services=("two",)))]
    remote.transport._poller._subscriptions = lambda: wanted
    assert await remote.look() == []
    wanted.append(Subscription(TRIGGERED, Filters(services=("one",))))
    assert await remote.look() == ["t1"]


async def test_nothing_is_taken_until_keptn_has_told_the_subscriptions(
    keptn: PollingKeptn, remote: Plane
) -> None:
    uniform = remote.peer.uniform
    assert uniform
    await uniform.beat()
    (stored,) = keptn.integrations.values()
    stored.subscriptions = [{"event": TRIGGERED, "filter": {"services": ["one"]}}]
    open_task(keptn, "t1", service="one")
    open_task(keptn, "t2", service="two")
    async with plane(keptn.api_url) as restarted:
        assert restarted.peer.uniform
        keptn.fail_at("uniform", 503)
        await restarted.peer.uniform.begin()
        assert await restarted.look() == []
        keptn.recover("uniform")
        await restarted.peer.uniform.beat()
        assert await restarted.look() == ["t1"]


async def test_a_keptn_that_shows_no_sequences_is_believed_its_list() -> None:
    async with PollingKeptn("0.14") as old, plane(old.api_url) as remote:
        open_task(old, "t1")
        assert await remote.look() == []  # it may be a proxy that says so once
        assert await remote.look() == ["t1"]
        open_task(old, "t2", service="another")
        assert await remote.look() == ["t2"]


@pytest.mark.parametrize("is_known", [True, False])
async def test_a_404_of_a_proxy_lets_no_paused_trigger_pass(
    is_known: bool, keptn: PollingKeptn, remote: Plane
) -> None:
    open_task(keptn, "t1")
    keptn.pause("t1")
    if is_known:
        assert await remote.look() == []
    async with http_peer() as proxy:
        proxy.answer(status=404, body=b"<html>", times=None)
        control_plane = remote.peer.control_plane
        assert isinstance(control_plane, HttpControlPlane)
        api, control_plane._api = control_plane._api, ApiClient(proxy.url)
        for _ in range(2 if is_known else 1):
            assert await remote.look() == []
        await control_plane._api.close()
        control_plane._api = api
    for _ in range(2):
        assert await remote.look() == []


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_an_hour_off_changes_nothing(
    hours: int, keptn: PollingKeptn, remote: Plane
) -> None:
    open_task(keptn, "t1", datetime.now(UTC) + timedelta(hours=hours))
    assert await remote.look() == ["t1"]


async def test_what_is_no_event_is_told_once_and_does_not_hide_the_others(api: HttpPeer) -> None:
    good = triggered("scale", id="t1")
    listed = [{"id": "bad", "specversion": "7"}, {**good, "id": "huge", "data": {"n": 2**64}}, good]
    api.answer(body=json.dumps({"events": listed}).encode(), times=None)
    async with plane(f"{api.url}/api") as remote:
        remote.transport._poller._is_dispatched = _always
        with captured_logs() as lines:
            assert await remote.look() == ["t1"]
            assert await remote.look() == []
    assert {line["event_id"] for line in lines.saying("not a CloudEvent")} == {"bad", "huge"}
    assert len(lines.all) == 2


async def _always(event: Event) -> bool:
    return True


async def test_an_outage_is_told_at_its_beginning_and_its_end(
    keptn: PollingKeptn, remote: Plane
) -> None:
    with captured_logs() as lines:
        await remote.look()
        await keptn.stop_listening()
        for _ in range(30):
            await remote.look()
        assert remote.transport.trouble is not None
        assert "can't be reached" in remote.transport.trouble
        await keptn.listen()
        open_task(keptn, "t1")
        assert await remote.look() == ["t1"]
        assert not remote.transport.trouble
    assert [line["message"] for line in lines.all] == [
        "Keptn's API gives no list of events",
        "Keptn's API gives its list of events again",
    ]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ({"status": 503}, "answered 503"),
        ({"status": 301, "headers": {"Location": "/bridge"}}, f"answered 301{HINT}"),
        ({"body": b"<html>"}, f"answered 200 without a list of events{HINT}"),
        ({"status": 404, "body": b"404 page not found"}, f"answered 404{HINT}"),
        ({"status": 404, "json": {"message": "no such project"}}, "answered 404: no such project"),
        ({"status": 401, "json": {"message": "unauthorized"}}, "answered 401: unauthorized"),
    ],
)
async def test_what_gives_no_list_says_why(
    answer: dict[str, Any], reason: str, api: HttpPeer
) -> None:
    api.answer(**answer)
    async with plane(f"{api.url}/api") as remote:
        assert await remote.look() == []
        assert remote.transport.trouble == f"{api.url}/api {reason}"


@pytest.mark.parametrize("status", [403, 500])
async def test_an_unreadable_list_hides_no_other(status: int, api: HttpPeer) -> None:
    deploy = {**triggered("scale", id="t1"), "type": "sh.keptn.event.deploy.triggered"}
    api.answer(status=status, json={"message": "a broken event"})
    api.answer(json={"events": [deploy]})
    types = [TRIGGERED, "sh.keptn.event.deploy.triggered"]
    async with plane(f"{api.url}/api") as remote:
        poller = remote.transport._poller
        poller._subscriptions = lambda: [Subscription(each) for each in types]
        poller._is_dispatched = _always
        assert await remote.look() == ["t1"]
        assert remote.transport.trouble == f"{api.url}/api answered {status}: a broken event"


async def test_a_storm_of_429_is_met_with_few_requests(keptn: PollingKeptn, remote: Plane) -> None:
    open_task(keptn, "t1")
    keptn.refuse_next(429, times=3)
    for _ in range(10):
        assert await remote.look() == []
    assert keptn.asked == []
    for _ in range(3):
        remote.clock.forward(10)
        await remote.look()
    assert remote.given == ["t1"]


async def test_a_wrong_token_is_told_and_not_repeated(keptn: PollingKeptn, remote: Plane) -> None:
    keptn.token = "another"
    for _ in range(10):
        await remote.look()
    assert remote.transport.trouble == f"{keptn.api_url} answered 401"


async def test_it_looks_again_and_again_until_it_leaves(keptn: PollingKeptn, remote: Plane) -> None:
    async with remote.transport.receive(remote.accept):
        await until(lambda: len(keptn.asked) == 1)
        open_task(keptn, "t1")

        def is_given() -> bool:
            remote.clock.forward(12)  # again where the first look had not ended
            return remote.given == ["t1"]

        await until(is_given)
        remote.transport.leave()
        open_task(keptn, "t2", service="another")
        remote.clock.forward(12)
    assert remote.given == ["t1"]
    assert remote.transport.port is None


# What is posted


async def test_a_report_is_posted_to_the_api(keptn: PollingKeptn, remote: Plane) -> None:
    open_task(keptn, "t1")
    await remote.transport.send(report())
    assert len(keptn.started("t1")) == 1


async def test_a_log_entry_goes_to_the_error_log(keptn: PollingKeptn, remote: Plane) -> None:
    await remote.transport.send(REPLIES.error_log(None, datetime.now(UTC), "x"))
    assert [(entry.message, entry.origin) for entry in keptn.log_entries] == [("x", "api")]


@pytest.mark.parametrize(
    ("answer", "kind", "doubtful"),
    [
        ({"status": 400}, Rejected, None),
        ({"status": 404}, Blocked, False),
        ({"status": 302}, Blocked, False),
        ({"status": 401}, Blocked, False),
        ({"status": 429}, Undelivered, False),
        ({"status": 503}, Undelivered, True),
        ({"status": 502}, Undelivered, True),
        ({"body": b"<html>log in</html>"}, Blocked, False),
    ],
)
async def test_an_answer_says_what_becomes_of_the_report(
    answer: dict[str, Any], kind: type[Exception], doubtful: bool | None, api: HttpPeer
) -> None:
    api.answer(**answer)
    async with plane(f"{api.url}/api") as remote:
        with pytest.raises(kind) as caught:
            await remote.transport.send(report())
    assert type(caught.value) is kind
    assert getattr(caught.value, "doubtful", None) is doubtful


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (302, Blocked),
        (400, Rejected),
        (403, Blocked),
        (404, Blocked),
        (413, Rejected),
        (422, Rejected),
        (503, Undelivered),
    ],
)
async def test_an_answer_of_the_error_log_means_the_same(
    status: int, kind: type[Exception], api: HttpPeer
) -> None:
    api.answer(status, headers={"Retry-After": "3"})
    async with plane(f"{api.url}/api") as remote:
        with pytest.raises(kind, match=f"Keptn's error log answered {status}") as caught:
            await remote.transport.send(REPLIES.error_log(None, datetime.now(UTC), "x"))
    assert type(caught.value) is kind
    if kind is Undelivered:
        assert getattr(caught.value, "doubtful", None) is False
        assert getattr(caught.value, "retry_after", None) == 3


async def test_an_error_log_that_breaks_off_leaves_doubt(api: HttpPeer) -> None:
    api.drop_next()
    async with plane(f"{api.url}/api") as remote:
        with pytest.raises(Undelivered) as caught:
            await remote.transport.send(REPLIES.error_log(None, datetime.now(UTC), "x"))
    assert type(caught.value) is Undelivered
    assert caught.value.doubtful


async def test_a_report_that_meets_a_pause_waits_for_its_end(api: HttpPeer) -> None:
    api.answer(401)
    async with plane(f"{api.url}/api") as remote:
        await remote.look()
        with pytest.raises(Undelivered, match="answered 401") as caught:
            await remote.transport.send(report())
    assert type(caught.value) is Undelivered
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after < 1.3
    assert not caught.value.doubtful


async def test_an_answer_that_is_cut_off_leaves_doubt(api: HttpPeer) -> None:
    api.drop_next()
    async with plane(f"{api.url}/api") as remote:
        with pytest.raises(Undelivered) as caught:
            await remote.transport.send(report())
    assert caught.value.doubtful


async def test_a_refused_connection_leaves_none() -> None:
    async with http_peer() as gone:
        url = gone.url
    async with plane(f"{url}/api") as remote:
        with pytest.raises(Undelivered, match="can't be reached") as caught:
            await remote.transport.send(report())
    assert not caught.value.doubtful


# Settings


def test_an_endpoint_is_needed() -> None:
    with pytest.raises(SettingsError, match="KEPTN_API_ENDPOINT: must be set"):
        peer_of(Settings(transport="polling"), KeptnSettings(), Metrics("x"), StandingClock(), None)


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"oauth_client_id": "x"}, ["OAUTH_CLIENT_SECRET", "OAUTH_DISCOVERY or OAUTH_TOKEN_URL"]),
        ({"oauth_discovery": "https://x"}, ["OAUTH_CLIENT_ID", "OAUTH_CLIENT_SECRET"]),
    ],
)
def test_half_a_login_is_refused(given: dict[str, str], missing: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        Plane("http://keptn.test/api", **given)
    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == missing


async def test_a_certificate_that_is_not_checked_is_told_at_each_start_and_shown() -> None:
    with captured_logs() as lines:
        async with plane("https://keptn.test/api", http_ssl_verify=False) as remote:
            assert remote.transport.trouble == UNVERIFIED
    assert [line["setting"] for line in lines.all] == ["HTTP_SSL_VERIFY"]
