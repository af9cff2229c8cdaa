"""Microsoft Teams, by the webhook of a workflow, which takes an Adaptive Card."""

from __future__ import annotations

from typing import Any

from keptn_remedy.notifications.channels import Post, post
from keptn_remedy.notifications.notification import Notification
from keptn_remedy.notifications.secret_file import SecretFile

_COLOURS = {"info": "good", "warning": "warning", "error": "attention", "critical": "attention"}
_CARD = "application/vnd.microsoft.card.adaptive"


class Teams:
    """A channel or chat of Teams behind a secret address."""

    repeats = False

    def __init__(self, url: SecretFile) -> None:
        self._url = url

    async def posts(self, notification: Notification) -> list[Post]:
        colour = "good" if notification.is_over else _COLOURS[notification.severity]
        title = _run(notification.title, weight="bolder", color=colour)
        content: dict[str, Any] = {
            "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
            "type": "AdaptiveCard",
            "version": "1.4",
            "body": [title, *(_run(line) for line in notification.lines)],
        }
        if notification.link:
            opened = {"type": "Action.OpenUrl", "title": "Open", "url": notification.link}
            content["actions"] = [opened]
        card = {"contentType": _CARD, "contentUrl": None, "content": content}
        return [post(await self._url.url(), {"type": "message", "attachments": [card]})]


def _run(text: str, **style: str) -> dict[str, Any]:
    # A TextBlock would read Markdown: a message could hide a link in it.
    return {"type": "RichTextBlock", "inlines": [{"type": "TextRun", "text": text, **style}]}
