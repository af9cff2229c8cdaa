"""Channels: a notification in, the requests that tell it out."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import orjson
from yarl import URL

from keptn_remedy.notifications.notification import Notification
from keptn_remedy.notifications.secret_file import SecretFile


class Post(NamedTuple):
    """One request: a POST with a JSON body."""

    url: URL
    body: bytes
    headers: dict[str, str]


class Channel(Protocol):
    """One way to tell people. `repeats`: what stands must be sent again each minute.

    Where there are several posts, they go to peers: one that is taken is enough.
    """

    repeats: bool

    async def posts(self, notification: Notification) -> list[Post]:
        """The requests that tell it; none where this channel leaves it out.

        Raises:
            ChannelTrouble: the channel can't be used as it is set up.
        """
        ...


def post(url: URL, body: object, token: str | None = None) -> Post:
    """A request with this body as JSON."""
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return Post(url, orjson.dumps(body), headers)


async def read_token(file: SecretFile | None) -> str | None:
    """The token in a file, where there is one."""
    return await file.read() if file else None
