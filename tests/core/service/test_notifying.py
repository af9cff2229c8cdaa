"""A provider tells people: what failed, what was refused, what asks them, what is over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import yaml
from aiohttp import ClientSession

from keptn_remedy import Action, Context, Outcome
from keptn_remedy.service import Service
from keptn_remedy.testing import HttpPeer, http_peer, triggered
from tests.clocks import HastyClock
from tests.providing import Dial, event_url, provider
from tests.waiting import is_finished, until


class Break(Action):
    """Always fails."""

    name = "break"

    async def run(self, context: Context, value: Any) -> Outcome:
        return Outcome.failed("it broke, and the token is hunter2-hunter2")


@asynccontextmanager
async def notifying(
    folder: Path, *rules: dict[str, Any], **settings: Any
) -> AsyncIterator[tuple[Service, HttpPeer]]:
    """A provider whose only channel is a webhook that answers as the peer does."""
    async with http_peer() as peer:
        entry = {"type": "webhook", "url": f"{peer.url}/hook"}
        channels, policy = folder / "channels.yaml", folder / "policy.yaml"
        channels.write_text(yaml.safe_dump({"version": 1, "channels": {"hook": entry}}))
        policy.write_text(yaml.safe_dump({"version": 1, "rules": list(rules)}))
        own: dict[str, Any] = {"channels": channels, "policy": policy, "clock": HastyClock()}
        own |= {"page_url": "https://remedy.example/", **settings}
        async with provider(folder / "j.db", None, Break, Dial, **own) as service:
            yield service, peer


async def send(to: Service, action: str, value: Any = None, **more: Any) -> str:
    event = triggered(action, value=value, **more)
    async with ClientSession() as session, session.post(event_url(to), json=event) as answer:
        assert answer.status == 202
    return str(event["id"])


def told(peer: HttpPeer) -> list[tuple[str, str]]:
    return [(r.json["type"].rpartition(".")[2], r.json["data"]["title"]) for r in peer.requests]


async def test_a_failure_is_told_with_where_it_was_and_a_link(tmp_path: Path) -> None:
    async with notifying(tmp_path) as (service, peer):
        id_ = await send(service, "break")
        await peer.requested()
        event = peer.requests[0].json
    assert told(peer) == [("failed", "Failed: break for sockshop/production/carts")]
    assert event["subject"] == "sockshop/production/carts"
    data = event["data"]
    assert data["link"] == f"https://remedy.example/executions/{id_}"
    assert (data["execution"], data["service"]) == (id_, "carts")
    assert data["text"].startswith("it broke")


async def test_where_nobody_is_told_the_journal_notes_no_ends(tmp_path: Path) -> None:
    async with provider(tmp_path / "j.db", None, Break, Dial) as service:
        await is_finished(service.journal, await send(service, "break"))
        assert await service.journal.notices(9) == []


async def test_an_approval_is_told_and_that_it_was_given(tmp_path: Path) -> None:
    rule = {"name": "ask", "mode": "approve", "approve_within": "1h"}
    async with notifying(tmp_path, rule) as (service, peer):
        id_ = await send(service, "dial", 5)
        await peer.requested()
        data = peer.requests[0].json["data"]
        assert (data["command"], data["over"]) == (f"remedy approve {id_}", False)
        assert "dial number: 0 -> 5" in data["text"]
        assert data["until"]
        await service.journal.answer(id_, "approved", "ann", None)
        await peer.requested(2)
    assert told(peer) == [
        ("approval", "Approval needed: dial for sockshop/production/carts"),
        ("approval", "Approved by ann: dial for sockshop/production/carts"),
    ]


async def test_a_pause_is_told_once_and_its_end_and_a_refusal_by_it(tmp_path: Path) -> None:
    async with notifying(tmp_path) as (service, peer):
        await service.pauses.pause("ann", "fire drill")
        await peer.requested()
        for _ in range(2):  # the second one is refused for the same reason
            await send(service, "break")
        await peer.requested(2)
        await service.pauses.resume()
        await peer.requested(3)
    assert told(peer) == [
        ("paused", "All actions are paused by ann: fire drill"),
        ("refused", "Refused: break for sockshop/production/carts"),
        ("paused", "Resumed: All actions are paused by ann: fire drill"),
    ]


async def test_an_undo_is_told(tmp_path: Path) -> None:
    async with notifying(tmp_path) as (service, peer):
        id_ = await send(service, "dial", 5)
        await is_finished(service.journal, id_)
        assert await service.journal.want_undo(id_, "ordered", "ann") is None
        await peer.requested()
    assert told(peer) == [("undone", "Undone: dial for sockshop/production/carts")]
    assert "by ann" in peer.requests[0].json["data"]["text"]


async def test_a_rule_says_who_is_told_what(tmp_path: Path) -> None:
    rules = (
        {"name": "all", "notify": {"hook": "approval"}},
        {"name": "carts", "match": {"service": "carts"}, "notify": ["hook"]},
    )
    async with notifying(tmp_path, *rules) as (service, peer):
        await send(service, "break", service="orders")
        await send(service, "break", service="carts")
        await peer.requested()
    assert told(peer) == [("failed", "Failed: break for sockshop/production/carts")]


async def test_a_channel_that_hangs_delays_no_report_and_no_other_execution(
    tmp_path: Path,
) -> None:
    async with notifying(tmp_path) as (service, peer):
        with peer.hold():
            await send(service, "break")
            await peer.requested()
            await is_finished(service.journal, await send(service, "break"))
            await until(lambda: all_told(service))
    assert told(peer)[:1] == [("failed", "Failed: break for sockshop/production/carts")]


async def all_told(service: Service) -> bool:
    return (await service.journal.backlog()).unsent == 0
