"""PagerDuty's Events API v2: an incident that is triggered, and resolved once it is over."""

from __future__ import annotations

from typing import Any

from yarl import URL

from keptn_remedy.notifications.channels import Post, post
from keptn_remedy.notifications.notification import Notification, rfc3339
from keptn_remedy.notifications.secret_file import SecretFile

MAX_KEY, MAX_SUMMARY = 255, 1_024


class PagerDuty:
    """A service of PagerDuty, by its integration key."""

    repeats = False

    def __init__(self, url: URL, key: SecretFile, source: str) -> None:
        self._url = url
        self._key = key
        self._source = source

    async def posts(self, notification: Notification) -> list[Post]:
        event: dict[str, Any] = {
            "routing_key": await self._key.read(),
            "event_action": "resolve" if notification.is_over else "trigger",
            "dedup_key": f"remedy:{notification.key}"[:MAX_KEY],
        }
        if not notification.is_over:
            event["payload"] = self._payload(notification)
            event["client"] = "keptn-remedy"
            if notification.link:
                event["client_url"] = notification.link
                event["links"] = [{"href": notification.link, "text": "Open"}]
        return [post(self._url, event)]

    def _payload(self, notification: Notification) -> dict[str, Any]:
        return {
            "summary": notification.title[:MAX_SUMMARY],
            "source": notification.where or self._source,
            "severity": notification.severity,
            "timestamp": rfc3339(notification.at),
            "component": notification.facts.get("service", "keptn-remedy"),
            "group": notification.facts.get("stage", ""),
            "class": notification.kind,
            "custom_details": {**notification.facts, "text": "\n".join(notification.lines)},
        }
