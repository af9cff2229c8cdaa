"""The provider registers with Keptn's uniform itself, and takes what its subscriptions let pass."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import orjson
import pytest
from pydantic import HttpUrl

from keptn_remedy import Action, Context, Outcome, events
from keptn_remedy.events import TRIGGERED, ActionTriggered, Event, Replies
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.control_plane.error_log import ErrorLog
from keptn_remedy.keptn.subscriptions import Filters, Subscription
from keptn_remedy.keptn.uniform import (
    AWAITED_SECONDS,
    BEAT_SECONDS,
    FIRST_SECONDS,
    PATH,
    Integration,
    Uniform,
)
from keptn_remedy.service import Service, running
from keptn_remedy.settings import KeptnSettings, Settings
from keptn_remedy.support.clock import Clock
from keptn_remedy.testing import FakeKeptn, HttpPeer, http_peer, registry_of, triggered
from keptn_remedy.testing.polling_keptn import PollingKeptn
from tests.clocks import StandingClock
from tests.log_lines import captured_logs
from tests.providing import Greet, provider
from tests.waiting import until

US = Integration(
    name="keptn-remedy",
    namespace="keptn-exec",
    hostname="worker-2",
    pod="keptn-remedy-7d9c8b6f5d-k2x9p",
    version="0.1.0",
    location="remote-execution-plane",
)
DEPLOY = "sh.keptn.event.deploy.triggered"
SHOP = Filters(projects=("webshop",), stages=("prod",))


def of(project: str, stage: str, **others: Any) -> ActionTriggered:
    event = triggered("greet", project=project, stage=stage, service="cart")
    return events.stored_trigger(orjson.dumps({**event, **others}))


@asynccontextmanager
async def joining(
    keptn: FakeKeptn | HttpPeer, clock: Clock | None = None
) -> AsyncIterator[Uniform]:
    """Us, and Keptn's API."""
    api = ApiClient(keptn.url)
    try:
        yield Uniform(api, US, [Subscription(TRIGGERED, SHOP)], clock or Clock())
    finally:
        await api.close()


@pytest.fixture
async def keptn() -> AsyncIterator[FakeKeptn]:
    async with FakeKeptn() as fake:
        yield fake


@pytest.fixture
async def ours(keptn: FakeKeptn) -> AsyncIterator[Uniform]:
    async with joining(keptn) as made:
        yield made


async def test_keptn_is_told_what_the_bridge_shows(keptn: FakeKeptn, ours: Uniform) -> None:
    await ours.beat()
    ((id_, found),) = keptn.integrations.items()
    assert (ours.id, ours.trouble) == (id_, None)
    assert (found.name, found.beats) == ("keptn-remedy", 1)
    assert found.metadata == {
        "hostname": "worker-2",
        "integrationversion": "0.1.0",
        "distributorversion": "0.15.0",
        "location": "remote-execution-plane",
        "kubernetesmetadata": {
            "namespace": "keptn-exec",
            "podname": "keptn-remedy-7d9c8b6f5d-k2x9p",
            "deploymentname": "keptn-remedy",
        },
    }
    (subscription,) = found.subscriptions
    assert subscription["event"] == "sh.keptn.event.action.triggered"
    assert subscription["filter"] == {"projects": ["webshop"], "stages": ["prod"], "services": []}


async def test_what_the_bridge_says_counts_from_the_next_beat_on(
    keptn: FakeKeptn, ours: Uniform
) -> None:
    assert ours.lets_pass(of("webshop", "prod"))
    assert not ours.lets_pass(of("webshop", "dev"))
    await ours.beat()
    (stored,) = keptn.integrations.values()
    stored.subscriptions = [
        {"event": TRIGGERED, "filter": {"projects": ["webshop"], "stages": ["dev"]}},
        {"event": "sh.keptn.event.*.triggered", "filter": {"projects": ["another"]}},
        {"event": "sh.keptn.event.get-sli.triggered", "filter": None},
    ]
    await ours.beat()
    assert ours.lets_pass(of("webshop", "dev"))
    assert ours.lets_pass(of("another", "prod"))
    assert not ours.lets_pass(of("webshop", "prod"))
    # Nothing serves this task here, whatever is subscribed to.
    assert not ours.lets_pass(of("another", "prod", type="sh.keptn.event.get-sli.triggered"))


@pytest.mark.parametrize(
    ("event", "passes"),
    [
        (TRIGGERED, True),
        ("sh.keptn.event.>", True),
        ("sh.keptn.>", True),
        (">", True),
        ("sh.keptn.event.*.triggered", True),
        ("sh.keptn.event.action.*", True),
        ("sh.keptn.event.action.triggered.>", False),
        ("sh.keptn.event.*", False),
        ("sh.keptn.event.action.finished", False),
        ("", False),
    ],
)
async def test_a_subscription_may_have_wildcards(
    event: str, passes: bool, keptn: FakeKeptn, ours: Uniform
) -> None:
    await ours.beat()
    (stored,) = keptn.integrations.values()
    stored.subscriptions = [{"event": event, "filter": {}}]
    await ours.beat()
    assert ours.lets_pass(of("webshop", "prod")) == passes


async def test_without_a_subscription_nothing_passes_and_readiness_says_so(
    keptn: FakeKeptn, ours: Uniform
) -> None:
    await ours.beat()
    (stored,) = keptn.integrations.values()
    stored.subscriptions = []
    await ours.beat()
    assert not ours.lets_pass(of("webshop", "prod"))
    assert ours.trouble == "no subscription of keptn-remedy is left: add one in the Bridge"


async def test_stored_subscriptions_win_over_ours(keptn: FakeKeptn, ours: Uniform) -> None:
    await ours.beat()
    (stored,) = keptn.integrations.values()
    stored.subscriptions = [{"event": TRIGGERED, "filter": {"projects": ["another"]}}]
    async with joining(keptn) as next_one:
        await next_one.beat()
        assert next_one.id == ours.id
        assert next_one.lets_pass(of("another", "prod"))
        assert not next_one.lets_pass(of("webshop", "prod"))
    assert len(keptn.integrations) == 1


async def test_a_registration_that_expired_is_made_again_as_the_bridge_had_it(
    keptn: FakeKeptn, ours: Uniform
) -> None:
    await ours.beat()
    (stored,) = keptn.integrations.values()
    stored.subscriptions = [{"event": "sh.keptn.event.*.triggered", "filter": {"stages": ["dev"]}}]
    await ours.beat()
    keptn.integrations.clear()
    await ours.beat()
    (again,) = keptn.integrations.values()
    (subscription,) = again.subscriptions
    assert subscription["event"] == "sh.keptn.event.*.triggered"
    assert subscription["filter"]["stages"] == ["dev"]
    assert (ours.id, ours.trouble) == (again.id, None)


@pytest.mark.parametrize("status", [401, 404, 500, 503])
async def test_where_keptn_can_not_be_asked_the_last_subscriptions_count(
    status: int, keptn: FakeKeptn, ours: Uniform
) -> None:
    keptn.fail_at("uniform", status)
    await ours.beat()
    refused = f"the registration is refused: Keptn answered {status}: set to fail"
    assert (ours.id, ours.trouble) == (None, refused)
    assert ours.lets_pass(of("webshop", "prod"))
    keptn.recover("uniform")
    await ours.beat()
    (stored,) = keptn.integrations.values()
    stored.subscriptions = [{"event": TRIGGERED, "filter": {"projects": ["another"]}}]
    await ours.beat()
    keptn.hang_up_at("uniform")
    await ours.beat()
    assert ours.trouble
    assert ours.id == stored.id
    assert ours.lets_pass(of("another", "prod"))


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"subscriptions": 1}', b"[]"])
async def test_an_answer_that_makes_no_sense_takes_no_subscription_away(body: bytes) -> None:
    async with http_peer() as keptn, joining(keptn) as ours:
        keptn.answer(201, json={"id": "b1a5"})
        keptn.answer(body=body, times=None)
        await ours.beat()
        assert ours.lets_pass(of("webshop", "prod"))
        assert ours.trouble
        assert [(r.method, r.path) for r in keptn.requests] == [
            ("POST", f"/{PATH}"),
            ("PUT", f"/{PATH}/b1a5/ping"),
        ]


async def test_a_beat_follows_every_10_s_and_nobody_is_unregistered(keptn: FakeKeptn) -> None:
    clock = StandingClock()
    async with joining(keptn, clock) as ours:
        await ours.begin()
        (stored,) = keptn.integrations.values()
        beating = asyncio.create_task(ours.run())
        await asyncio.sleep(0)
        clock.forward(BEAT_SECONDS)
        await until(lambda: stored.beats == 2)
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
    assert keptn.integrations == {stored.id: stored}


async def test_a_keptn_that_does_not_answer_delays_the_start_by_a_second_at_most() -> None:
    async with http_peer() as keptn, joining(keptn) as ours:
        with keptn.hold():
            await asyncio.wait_for(ours.begin(), 3)
        assert ours.lets_pass(of("webshop", "prod"))


async def test_a_long_message_of_keptn_is_told_cut() -> None:
    async with http_peer() as peer, joining(peer) as refused:
        peer.answer(500, json={"code": 500, "message": "y" * 10_000})
        await refused.beat()
    assert str(refused.trouble).endswith(f"answered 500: {'y' * 200}")


async def test_a_beat_that_fails_unexpectedly_is_logged_and_the_next_follows(
    keptn: FakeKeptn, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StandingClock()
    async with joining(keptn, clock) as ours:
        with captured_logs() as lines, monkeypatch.context() as broken:
            broken.setattr(ours, "beat", failing)
            await ours.begin()
            beating = asyncio.create_task(ours.run())
            await asyncio.sleep(0)
            clock.forward(BEAT_SECONDS)
            await until(lambda: len(lines.all) == 2)
        await asyncio.sleep(0)
        clock.forward(BEAT_SECONDS)
        await until(lambda: len(keptn.integrations) == 1)
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)
    assert {line["message"] for line in lines.all} == {"the registration failed unexpectedly"}


async def failing() -> None:
    raise OverflowError("year is out of range")


async def test_until_keptn_tells_the_subscriptions_it_is_asked_every_second(
    keptn: FakeKeptn,
) -> None:
    clock = StandingClock()
    keptn.fail_at("uniform", 503)
    async with joining(keptn, clock) as ours:
        await ours.begin()
        assert not ours.subscriptions
        assert ours.lets_pass(of("webshop", "prod"))  # what NATS delivers can't wait
        keptn.recover("uniform")
        beating = asyncio.create_task(ours.run())
        await asyncio.sleep(0)
        clock.forward(FIRST_SECONDS)
        await until(lambda: ours.subscriptions == (Subscription(TRIGGERED, SHOP),))
        beating.cancel()
        await asyncio.gather(beating, return_exceptions=True)


@pytest.mark.parametrize("status", [403, 500])
async def test_a_keptn_that_answers_without_subscriptions_is_awaited_for_a_minute(
    status: int, keptn: FakeKeptn
) -> None:
    clock = StandingClock()
    keptn.fail_at("uniform", status)
    async with joining(keptn, clock) as ours:
        await ours.begin()
        clock.forward(AWAITED_SECONDS - 1)
        await ours.beat()
        assert not ours.subscriptions
        clock.forward(2)
        assert ours.subscriptions == (Subscription(TRIGGERED, SHOP),)


async def test_the_minute_begins_once_keptn_can_be_reached(keptn: FakeKeptn) -> None:
    clock = StandingClock()
    await keptn.stop_listening()
    async with joining(keptn, clock) as ours:
        await ours.begin()
        clock.forward(AWAITED_SECONDS - 1)
        await ours.beat()
        clock.forward(2)
        assert ours.is_awaited
        await keptn.listen()
        await ours.beat()
        assert not ours.is_awaited


async def test_each_change_is_told_once(keptn: FakeKeptn, ours: Uniform) -> None:
    with captured_logs() as lines:
        keptn.fail_at("uniform", 503)
        for _ in range(3):
            await ours.beat()
        keptn.recover("uniform")
        for _ in range(3):
            await ours.beat()
    told = [line["message"] for line in lines.all]
    assert told == ["not registered with Keptn", "registered with Keptn"]


@asynccontextmanager
async def on_nats(keptn: FakeKeptn, folder: Path, action: type[Action]) -> AsyncIterator[Service]:
    """A provider on NATS, whose server is away, so that its transport delivers nothing."""
    config = Settings(
        journal=folder / "j.db",
        transport="nats",
        keptn_api=HttpUrl(keptn.url),
        ops_port=0,
        finished_after_seconds=0,
    )
    names = KeptnSettings(
        pubsub_url="nats://127.0.0.1:9", k8s_namespace="shop", stage_filter=("production",)
    )
    async with running(config, registry_of(action), keptn=names) as service:
        yield service


@pytest.fixture
async def provided(keptn: FakeKeptn, tmp_path: Path) -> AsyncIterator[Service]:
    async with on_nats(keptn, tmp_path, Greet) as service:
        yield service


async def test_a_provider_takes_the_triggers_that_its_subscriptions_let_pass(
    keptn: FakeKeptn, provided: Service
) -> None:
    (stored,) = keptn.integrations.values()
    assert (stored.name, stored.beats) == ("keptn-remedy", 1)
    assert stored.metadata["kubernetesmetadata"]["namespace"] == "shop"
    assert stored.metadata["location"] == "control-plane"
    (subscription,) = stored.subscriptions
    assert subscription["filter"]["stages"] == ["production"]
    receipt = await provided.intake.accept(event(stage="dev"))
    assert receipt.kind == "ignored"
    assert receipt.text == "no subscription of ours in Keptn's uniform matches it"
    assert (await provided.intake.accept(event(stage="production"))).kind == "accepted"
    # Actions that we don't have stay silent whatever the subscriptions say.
    assert "no action" in (await provided.intake.accept(event("scale", stage="dev"))).text


class Notice(Action):
    """Receives triggers of the action, of another task, and the ends of sequences."""

    name = "notice"
    subscriptions: ClassVar[tuple[str, ...]] = (TRIGGERED, DEPLOY, "sh.keptn.event.*.x.finished")

    async def run(self, context: Context, value: dict[str, Any]) -> Outcome:
        return Outcome.passed("noticed")


async def test_subscribers_receive_what_subscriptions_or_filters_let_pass(
    keptn: FakeKeptn, tmp_path: Path
) -> None:
    async with on_nats(keptn, tmp_path, Notice) as service:
        assert service.uniform
        (stored,) = keptn.integrations.values()
        edited = [(TRIGGERED, "production"), (DEPLOY, "dev")]
        stored.subscriptions = [
            {"event": each, "filter": {"stages": [where]}} for each, where in edited
        ]
        await service.uniform.beat()

        async def kind(type_: str, stage: str) -> str:
            sent = {**triggered("greet", id=f"{type_}-{stage}", stage=stage), "type": type_}
            event = events.read_structured(orjson.dumps(sent))
            return (await service.intake.accept(event)).kind

        assert await kind(TRIGGERED, "production") == "accepted"
        assert await kind(TRIGGERED, "dev") == "ignored"
        assert await kind(DEPLOY, "production") == "ignored"
        assert await kind(DEPLOY, "dev") == "accepted"
        assert await kind("sh.keptn.event.production.x.finished", "production") == "accepted"
        assert await kind("sh.keptn.event.dev.x.finished", "dev") == "ignored"


async def test_readiness_tells_that_the_registration_fails(
    keptn: FakeKeptn, provided: Service
) -> None:
    assert not any("uniform" in each for each in (await provided.readiness.look()).degraded)
    keptn.integrations.clear()
    keptn.fail_at("uniform", 403)
    assert provided.uniform
    await provided.uniform.beat()
    (told,) = [each for each in (await provided.readiness.look()).degraded if "uniform" in each]
    assert (
        told
        == "Keptn's uniform: Keptn doesn't tell our subscriptions: it answered 403: set to fail"
    )


async def test_a_remote_plane_polls_for_what_the_bridge_lets_pass(tmp_path: Path) -> None:
    async with PollingKeptn() as keptn, provider(tmp_path / "j.db", keptn, Greet) as service:
        assert service.uniform
        (stored,) = keptn.integrations.values()
        assert stored.metadata["location"] == "remote-execution-plane"
        stored.subscriptions = [{"event": TRIGGERED, "filter": {"stages": ["dev"]}}]
        await service.uniform.beat()
        await keptn.deliver(triggered("greet", id="not-ours", stage="production"))
        await keptn.deliver(triggered("greet", id="ours", stage="dev"))
        assert (await keptn.task_finished("ours")).result == "pass"
        assert Greet.greeted == ["ours"]
        keptn.expect_unanswered("not-ours")


async def test_beside_a_distributor_nobody_registers_twice(tmp_path: Path) -> None:
    async with FakeKeptn() as keptn, provider(tmp_path / "j.db", keptn, Greet):
        assert keptn.integrations == {}


def event(action: str = "greet", **scope: str) -> Event:
    return events.read_structured(orjson.dumps(triggered(action, **scope)))


async def test_log_entries_carry_the_id_of_the_integration(keptn: FakeKeptn, ours: Uniform) -> None:
    log = ErrorLog(ApiClient(keptn.url), lambda: ours.id)
    trigger = events.stored_trigger(orjson.dumps(triggered("greet", id="t1")))
    report = Replies("keptn-remedy").error_log(trigger, Clock().utc(), "it failed")
    await log.add(report)
    await ours.beat()
    await log.add(report)
    assert [entry.integration for entry in keptn.log_entries] == ["", ours.id]
    await log.close()
