"""Slack's incoming webhooks, and those of Mattermost and Rocket.Chat, which take the same."""

from __future__ import annotations

from keptn_remedy.notifications.channels import Post, post
from keptn_remedy.notifications.notification import Notification
from keptn_remedy.notifications.secret_file import SecretFile

_MARKS = {"info": "", "warning": ":warning: ", "error": ":x: ", "critical": ":rotating_light: "}


class Slack:
    """A chat room behind a secret address. Only `text` is sent: each of them understands it."""

    repeats = False

    def __init__(self, url: SecretFile) -> None:
        self._url = url

    async def posts(self, notification: Notification) -> list[Post]:
        mark = ":white_check_mark: " if notification.is_over else _MARKS[notification.severity]
        lines = [f"{mark}*{_plain(notification.title)}*"]
        lines += [_plain(line) for line in notification.lines]
        if notification.link:
            lines.append(f"<{_plain(notification.link)}|Open>")
        body = {"text": "\n".join(lines), "unfurl_links": False, "unfurl_media": False}
        return [post(await self._url.url(), body)]


def _plain(text: str) -> str:
    """As Slack wants it (its page "Formatting text"): no text makes a link or calls everybody."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
