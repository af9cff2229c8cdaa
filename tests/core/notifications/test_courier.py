"""Bringing notifications to a channel: once, in order, again after failures, durably."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from yarl import URL

from keptn_remedy.journal import Queued
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.notifications.channels import Channel
from keptn_remedy.notifications.channels.alertmanager import Alertmanager
from keptn_remedy.notifications.channels.slack import Slack
from keptn_remedy.notifications.channels.webhook import Webhook
from keptn_remedy.notifications.courier import LONGEST_PAUSE_SECONDS, REPEAT_SECONDS, Courier
from keptn_remedy.notifications.pace import GATHER_SECONDS, Pace
from keptn_remedy.notifications.sender import Sender
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import HttpPeer, http_peer
from tests.clocks import StandingClock
from tests.core.notifications.told import NOW, notification, secret
from tests.core.places import AnyJournal


@asynccontextmanager
async def courier(
    journal: AnyJournal, channel: Channel, clock: StandingClock, at_most: int = 20
) -> AsyncIterator[Courier]:
    sender = Sender(Mask())
    yield Courier(
        "hook", channel, Pace(at_most), journal, sender, clock, Metrics("test"), "https://page"
    )
    await sender.close()


@pytest.fixture
async def peer() -> AsyncIterator[HttpPeer]:
    async with http_peer() as found:
        yield found


def webhook(peer: HttpPeer) -> Webhook:
    return Webhook(URL(peer.url) / "hook", "keptn-remedy", lambda: NOW)


def queued(key: str, channel: str = "hook", **given: object) -> Queued:
    told = notification(key=key, title=f"Failed: {key}")
    return Queued(channel, key, told.to_json(), NOW, **given)  # type: ignore[arg-type]


def titles(peer: HttpPeer) -> list[str]:
    return [request.json["data"]["title"] for request in peer.requests]


async def waiting(journal: AnyJournal) -> int:
    return sum(one.number for one in await journal.waiting_notifications())


async def test_each_is_sent_once_whoever_queues_it_again(
    journal: AnyJournal, peer: HttpPeer
) -> None:
    async with courier(journal, webhook(peer), StandingClock()) as it:
        for _ in range(2):
            await journal.notify([queued("a"), queued("b"), queued("c", "other")], [])
            await it.turn()
    assert titles(peer) == ["Failed: a", "Failed: b"]
    assert await waiting(journal) == 1


async def test_the_same_refusal_is_told_again_only_after_a_while(journal: AnyJournal) -> None:
    one = queued("a", quiet_seconds=900.0)
    assert await journal.notify([one], []) == 1
    await journal.note_notified([each.handle for each in await journal.unnotified("hook", 1)])
    assert await journal.notify([one._replace(at=NOW + 899)], []) == 0
    assert await journal.notify([one._replace(at=NOW + 901)], []) == 1


async def test_a_channel_that_is_away_for_an_hour_loses_nothing(
    journal: AnyJournal, peer: HttpPeer
) -> None:
    clock, began = StandingClock(), 0
    peer.answer(503, times=5)
    peer.drop_next(times=5)
    peer.answer(404, times=200)
    async with courier(journal, webhook(peer), clock) as it:
        await journal.notify([queued("a"), queued("b")], [])
        while clock.monotonic() < 3_600:
            pause = await it.turn()
            assert pause <= LONGEST_PAUSE_SECONDS
            clock.forward(pause)
        assert it.trouble
        assert "answered 404" in it.trouble
        began = len(peer.requests)
        assert began < 200
        peer._script.clear()
        clock.forward(await it.turn())
        await it.turn()
        assert not it.trouble
    assert titles(peer)[began:] == ["Failed: a", "Failed: b"]


async def test_what_was_queued_survives_the_process(path: Path, peer: HttpPeer) -> None:
    earlier = SqliteJournal.open(path)
    await earlier.notify([queued("a")], [])
    await earlier.close()
    again = SqliteJournal.open(path)
    async with courier(again, webhook(peer), StandingClock()) as it:
        await it.turn()
        await it.turn()
    await again.close()
    assert titles(peer) == ["Failed: a"]


async def test_a_channel_is_left_alone_for_as_long_as_it_asks(
    journal: AnyJournal, peer: HttpPeer
) -> None:
    peer.answer(429, headers={"Retry-After": "42"})
    async with courier(journal, webhook(peer), StandingClock()) as it:
        await journal.notify([queued("a")], [])
        assert await it.turn() == 42


async def test_what_is_refused_for_good_stands_in_nobodys_way(
    journal: AnyJournal, peer: HttpPeer, capsys: pytest.CaptureFixture[str]
) -> None:
    peer.answer(400, body=b"invalid_payload")
    async with courier(journal, webhook(peer), StandingClock()) as it:
        await journal.notify([queued("a"), queued("b")], [])
        await it.turn()
    assert titles(peer) == ["Failed: a", "Failed: b"]
    assert await waiting(journal) == 0
    assert "invalid_payload" in capsys.readouterr().out


async def test_a_storm_is_one_summary_that_names_what_needs_somebody_first(
    journal: AnyJournal, peer: HttpPeer
) -> None:
    clock = StandingClock()
    approval = notification(key="q", kind="approval", title="Approval needed", command="remedy x")
    many = [queued(f"e{n}") for n in range(99)]
    async with courier(journal, webhook(peer), clock) as it:
        await journal.notify([*many, Queued("hook", "q", approval.to_json(), NOW)], [])
        assert await it.turn() == GATHER_SECONDS
        clock.forward(GATHER_SECONDS)
        await it.turn()
        await it.turn()
    (request,) = peer.requests
    data = request.json["data"]
    assert request.json["type"].endswith(".summary")
    assert data["title"] == "100 notifications: 1 approval, 99 failed"
    assert data["text"].splitlines()[0] == "Approval needed (remedy x)"
    assert data["text"].splitlines()[-1] == "and 85 more"
    assert await waiting(journal) == 0


async def test_a_redirect_is_not_followed(journal: AnyJournal, peer: HttpPeer) -> None:
    async with http_peer() as other:
        peer.answer(307, headers={"Location": f"{other.url}/elsewhere"}, times=None)
        async with courier(journal, webhook(peer), StandingClock()) as it:
            await journal.notify([queued("a")], [])
            await it.turn()
        assert not other.requests
    assert await waiting(journal) == 1


async def test_no_secret_is_in_the_log_or_the_reason(
    journal: AnyJournal, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slack = Slack(secret(tmp_path, "http://127.0.0.1:1/services/s3cr3t-path"))
    clock = StandingClock()
    async with courier(journal, slack, clock) as it:
        await journal.notify([queued("a")], [])
        await it.turn()
        clock.forward(100)
        trouble = it.trouble
    assert trouble
    assert "s3cr3t-path" not in trouble + capsys.readouterr().out


async def test_one_alertmanager_of_a_pair_is_enough_and_what_stands_is_posted_each_minute(
    journal: AnyJournal, peer: HttpPeer
) -> None:
    clock = StandingClock()
    channel = Alertmanager([URL("http://127.0.0.1:1"), URL(peer.url)], None, lambda: NOW)
    async with courier(journal, channel, clock) as it:
        await journal.notify([queued("a", stands=True), queued("b")], [])
        await it.turn()
        before = len(peer.requests)
        clock.forward(REPEAT_SECONDS)
        await it.turn()
        assert len(peer.requests) == before + 1
        await journal.notify([queued("a", is_over=True)], [])
        await it.turn()
        count = len(peer.requests)
        clock.forward(REPEAT_SECONDS)
        await it.turn()
        assert len(peer.requests) == count


async def test_what_stands_and_is_refused_later_stands_in_nobodys_way(
    journal: AnyJournal, peer: HttpPeer
) -> None:
    clock = StandingClock()
    channel = Alertmanager([URL(peer.url)], None, lambda: NOW)
    async with courier(journal, channel, clock) as it:
        await journal.notify([queued("a", stands=True), queued("b", stands=True)], [])
        await it.turn()
        clock.forward(REPEAT_SECONDS)
        peer.answer(400)
        before = len(peer.requests)
        await it.turn()
        assert len(peer.requests) == before + 2
    assert len(await journal.standing()) == 1


async def test_what_is_over_before_it_was_sent_is_not_sent(
    journal: AnyJournal, peer: HttpPeer
) -> None:
    await journal.notify([queued("a", stands=True)], [])
    assert await journal.notify([queued("a", is_over=True)], []) == 0
    async with courier(journal, webhook(peer), StandingClock()) as it:
        await it.turn()
    assert not peer.requests


async def test_what_is_too_old_or_too_much_is_dropped_oldest_first(journal: AnyJournal) -> None:
    old = queued("old")._replace(at=NOW - 100)
    await journal.notify([old, *(queued(f"e{n}") for n in range(5))], [])
    (dropped,) = await journal.drop_old_notifications(NOW - 50, 3)
    assert (dropped.channel, dropped.number, dropped.oldest_at) == ("hook", 3, NOW - 100)
    assert await waiting(journal) == 3
    await journal.forget_notifications(NOW + 1)
    assert await journal.notify([old], []) == 1
