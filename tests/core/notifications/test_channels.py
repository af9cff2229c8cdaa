"""What each channel sends, as its documentation has it. The receivers are not the real ones."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from yarl import URL

from keptn_remedy.notifications.channels import Channel
from keptn_remedy.notifications.channels.alertmanager import Alertmanager
from keptn_remedy.notifications.channels.pagerduty import PagerDuty
from keptn_remedy.notifications.channels.slack import Slack
from keptn_remedy.notifications.channels.teams import Teams
from keptn_remedy.notifications.channels.webhook import Webhook, signed
from keptn_remedy.notifications.notification import Notification
from keptn_remedy.notifications.secret_file import ChannelTrouble
from keptn_remedy.support.masking import Mask
from tests.core.notifications.told import NOW, notification, secret

HOOK = "https://chat.example/services/T0/B0/s3cr3t-path"
SLACK_MARKS = ("<!channel>", "<https://evil.example|click>", "a & b")


async def sent(channel: Channel, told: Notification) -> Any:
    (post,) = await channel.posts(told)
    return orjson.loads(post.body)


async def test_slack_gets_text_with_the_link_and_until_when(tmp_path: Path) -> None:
    told = notification(until=NOW + 60, command="remedy approve e1")
    body = await sent(Slack(secret(tmp_path, HOOK)), told)
    assert body["text"].splitlines() == [
        ":x: *Failed: scale for sockshop/production/carts*",
        "no better",
        "Until 2026-09-21 14:14:20 UTC",
        "Command: remedy approve e1",
        "<https://remedy.example/executions/e1|Open>",
    ]


@pytest.mark.parametrize("text", SLACK_MARKS)
async def test_no_text_from_outside_calls_everybody_in_slack_or_makes_a_link(
    text: str, tmp_path: Path
) -> None:
    body = await sent(Slack(secret(tmp_path, HOOK)), notification(text=text, title=text, link=None))
    assert "<" not in body["text"]
    assert body["text"].count("&amp;") == text.count(" & ") * 2


async def test_teams_gets_a_card_in_which_no_text_is_markdown(tmp_path: Path) -> None:
    text = "[click](https://evil.example)"
    body = await sent(Teams(secret(tmp_path, HOOK)), notification(text=text))
    (card,) = body["attachments"]
    assert (body["type"], card["contentType"]) == (
        "message",
        "application/vnd.microsoft.card.adaptive",
    )
    blocks = card["content"]["body"]
    assert {block["type"] for block in blocks} == {"RichTextBlock"}
    assert blocks[1]["inlines"] == [{"type": "TextRun", "text": text}]
    assert card["content"]["actions"][0]["url"] == "https://remedy.example/executions/e1"


async def test_pagerduty_gets_an_incident_and_its_end_under_one_key(tmp_path: Path) -> None:
    url = URL("https://events.pagerduty.com/v2/enqueue")
    channel = PagerDuty(url, secret(tmp_path, "r" * 32), "keptn-remedy")
    begun = await sent(channel, notification(key="k" * 400))
    ended = await sent(channel, notification(key="k" * 400, is_over=True))
    assert begun["event_action"] == "trigger"
    assert begun["routing_key"] == "r" * 32
    payload = begun["payload"]
    assert payload["severity"] == "error"
    assert (payload["component"], payload["group"], payload["class"]) == (
        "carts",
        "production",
        "failed",
    )
    assert payload["timestamp"] == "2026-09-21T14:13:20.000+00:00"
    assert begun["links"][0]["href"].endswith("/executions/e1")
    assert ended == {
        "routing_key": "r" * 32,
        "event_action": "resolve",
        "dedup_key": begun["dedup_key"],
    }
    assert len(begun["dedup_key"]) == 255


async def test_alertmanager_gets_labels_that_stay_and_an_end() -> None:
    peers = [URL("http://am-0:9093"), URL("http://am-1:9093/prefix")]
    channel = Alertmanager(peers, None, lambda: NOW)
    first = notification(kind="approval", until=NOW + 900, stands=True)
    posts = await channel.posts(first)
    assert [str(post.url) for post in posts] == [
        "http://am-0:9093/api/v2/alerts",
        "http://am-1:9093/prefix/api/v2/alerts",
    ]
    (alert,) = orjson.loads(posts[0].body)
    over = await channel.posts(replace(first, is_over=True))
    (ended,) = orjson.loads(over[0].body)
    assert alert["labels"]["alertname"] == "RemedyApprovalNeeded"
    assert alert["labels"]["remedy_self"] == "true"
    assert alert["endsAt"] == "2026-09-21T14:28:20.000+00:00"
    assert ended["labels"] == alert["labels"]
    assert ended["endsAt"] == "2026-09-21T14:13:20.000+00:00"
    assert alert["generatorURL"].endswith("/executions/e1")


async def test_what_only_happened_is_an_alert_for_an_hour_and_is_never_born_ended() -> None:
    late = Alertmanager([URL("http://am:9093")], None, lambda: NOW + 9_000)
    (alert,) = await sent(late, notification())
    assert alert["endsAt"] == "2026-09-21T16:48:20.000+00:00"


async def test_a_webhook_gets_a_signed_cloud_event_with_one_id(tmp_path: Path) -> None:
    url = URL("https://hub.example/remedy")
    key = secret(tmp_path, "whsec_" + base64.b64encode(b"0123456789abcdef").decode())
    channel = Webhook(url, "keptn-remedy", lambda: NOW, secret=key)
    (post,), (again,) = [await channel.posts(notification()) for _ in range(2)]
    event = orjson.loads(post.body)
    assert event["type"] == "keptn-remedy.notification.failed"
    assert (event["specversion"], event["subject"]) == ("1.0", "sockshop/production/carts")
    assert event["id"] == orjson.loads(again.body)["id"]
    assert event["data"]["execution"] == "e1"
    headers = post.headers
    content = f"{event['id']}.{int(NOW)}.".encode() + post.body
    mac = hmac.new(b"0123456789abcdef", content, hashlib.sha256).digest()
    assert headers["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"
    assert (headers["webhook-id"], headers["webhook-timestamp"]) == (event["id"], str(int(NOW)))


def test_a_secret_that_is_no_base64_signs_as_it_is() -> None:
    plain = signed("1", 1, b"{}", "hunter2-hunter2")
    assert signed("1", 1, b"{}", "whsec_not base64!") != plain
    assert plain["webhook-signature"].startswith("v1,")


async def test_a_secret_is_read_anew_and_masked(tmp_path: Path) -> None:
    mask = Mask()
    file = secret(tmp_path, HOOK, mask)
    channel = Slack(file)
    (post,) = await channel.posts(notification())
    assert str(post.url) == HOOK
    assert "s3cr3t-path" not in mask.text(f"POST {HOOK} and /services/T0/B0/s3cr3t-path")
    (tmp_path / "secret").write_text("https://chat.example/services/other-path")
    (post,) = await channel.posts(notification())
    assert post.url.path == "/services/other-path"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "is empty"),
        ("ftp://host/x", "no http"),
        ("nonsense", "no http"),
        ("http://", "no http"),
    ],
)
async def test_a_file_without_an_address_is_told_without_its_text(
    text: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(ChannelTrouble, match=why) as told:
        await Slack(secret(tmp_path, text)).posts(notification())
    assert not text or text not in str(told.value)


def test_a_notification_is_bounded_and_has_no_control_characters() -> None:
    told = notification(title="a\x1b[31m\nb" * 200, text="x\u202e\n" * 3_000, facts={"by": "\x07"})
    assert len(told.title) <= 200
    assert len(told.text) <= 2_000
    assert told.title.isprintable()
    assert "\u202e" not in told.text
    assert Notification.from_json(told.to_json()) == told
