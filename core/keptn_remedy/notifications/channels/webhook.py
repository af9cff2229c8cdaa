"""A webhook of your own: a CloudEvent in JSON, signed as Standard Webhooks has it."""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable
from typing import Any
from uuid import UUID, uuid5

import orjson
from yarl import URL

from keptn_remedy.notifications.channels import Post, read_token
from keptn_remedy.notifications.notification import Notification, rfc3339
from keptn_remedy.notifications.secret_file import SecretFile

TYPE = "keptn-remedy.notification"
_IDS = UUID("5f0a3c54-7a63-4d0b-9f0a-6f3f0e7f2c11")
_PREFIX = "whsec_"


class Webhook:
    """An address that takes CloudEvents.

    The id of an event is the same however often it is sent. With a secret, three headers sign
    it: `webhook-id`, `webhook-timestamp`, and `webhook-signature` with `v1,` and the base64 of the
    HMAC-SHA256 of `<id>.<timestamp>.<body>`.
    """

    repeats = False

    def __init__(
        self,
        url: URL | SecretFile,
        source: str,
        now: Callable[[], float],
        *,
        secret: SecretFile | None = None,
        token: SecretFile | None = None,
    ) -> None:
        self._url = url
        self._source = source
        self._now = now
        self._secret = secret
        self._token = token

    async def posts(self, notification: Notification) -> list[Post]:
        event = self._event(notification)
        body = orjson.dumps(event)
        headers = {"Content-Type": "application/cloudevents+json"}
        if token := await read_token(self._token):
            headers["Authorization"] = f"Bearer {token}"
        if self._secret:
            secret = await self._secret.read()
            headers |= signed(event["id"], int(self._now()), body, secret)
        url = self._url if isinstance(self._url, URL) else await self._url.url()
        return [Post(url, body, headers)]

    def _event(self, notification: Notification) -> dict[str, Any]:
        is_over, at = notification.is_over, notification.at
        event = {
            "specversion": "1.0",
            "id": str(uuid5(_IDS, f"{notification.key} {at} {is_over}")),
            "source": self._source,
            "type": f"{TYPE}.{notification.kind}",
            "time": rfc3339(at),
            "datacontenttype": "application/json",
            "data": {
                "key": notification.key,
                "severity": notification.severity,
                "title": notification.title,
                "text": notification.text,
                "over": is_over,
                "until": None if notification.until is None else rfc3339(notification.until),
                "link": notification.link,
                "command": notification.command,
                **notification.facts,
            },
        }
        return {**event, "subject": where} if (where := notification.where) else event


def signed(message_id: str, timestamp: int, body: bytes, secret: str) -> dict[str, str]:
    """The headers that sign a body. A secret that begins with `whsec_` is base64 after that."""
    key = secret.encode()
    if secret.startswith(_PREFIX):
        try:
            key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            key = secret.encode()
    content = f"{message_id}.{timestamp}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": f"v1,{signature}",
    }
