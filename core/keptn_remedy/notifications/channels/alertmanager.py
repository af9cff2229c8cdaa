"""Alertmanager: an alert of our own, which existing routes bring to whom they page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from yarl import URL

from keptn_remedy.notifications.channels import Post, post, read_token
from keptn_remedy.notifications.notification import Notification, rfc3339
from keptn_remedy.notifications.secret_file import SecretFile

ALERTS = "api/v2/alerts"
# What only happened is no state: the alert of it ends by itself.
LASTS_SECONDS = 3_600.0
# Without an end, Alertmanager ends an alert 5 minutes after it was posted last (its default).
STANDS_SECONDS = 300.0
NAMES = {
    "approval": "RemedyApprovalNeeded",
    "refused": "RemedyExecutionRefused",
    "failed": "RemedyExecutionFailed",
    "undone": "RemedyExecutionUndone",
    "paused": "RemedyActionsPaused",
    "suspended": "RemedyTargetSuspended",
    "parked": "RemedyReportParked",
    "summary": "RemedyManyNotifications",
    "trial": "RemedyTrial",
    "escalation": "RemedyGaveUp",
    "unverified": "RemedyNotUndone",
}
_LABELS = ("project", "stage", "service", "action", "execution", "episode")


class Alertmanager:
    """All Alertmanagers of one cluster: they don't pass alerts on to each other, so each gets it.

    What stands is posted again each minute: an Alertmanager that was restarted knows no alerts.
    """

    repeats = True

    def __init__(
        self, urls: Sequence[URL], token: SecretFile | None, now: Callable[[], float]
    ) -> None:
        self._urls = [url / ALERTS for url in urls]
        self._token = token
        self._now = now

    async def posts(self, notification: Notification) -> list[Post]:
        labels = {name: notification.facts.get(name, "") for name in _LABELS}
        alert: dict[str, Any] = {
            # The same labels from first to last: by them Alertmanager knows the alert.
            "labels": {
                "alertname": NAMES[notification.kind],
                "severity": notification.severity,
                "remedy_self": "true",
                "remedy_key": notification.key,
                **{name: value for name, value in labels.items() if value},
            },
            "annotations": {
                "summary": notification.title,
                "description": "\n".join(notification.lines),
            },
            "startsAt": rfc3339(notification.at),
            "endsAt": rfc3339(self._end(notification)),
        }
        if notification.link:
            alert["generatorURL"] = notification.link
        token = await read_token(self._token)
        return [post(url, [alert], token) for url in self._urls]

    def _end(self, notification: Notification) -> float:
        now = self._now()
        if notification.is_over:
            return now
        if notification.until is not None:
            return notification.until
        lasts = 0.0 if notification.stands else notification.at + LASTS_SECONDS
        return max(lasts, now + STANDS_SECONDS)
