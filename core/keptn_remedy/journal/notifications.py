"""What people have to be told: noted by the change that made it so, then sent to each channel."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from keptn_remedy.action import JSON

NoticeKind = Literal["asked", "ended", "undone", "parked", "ready"]


@dataclass(frozen=True, slots=True)
class Notice:
    """That something happened which people may have to be told; `at` is a Unix time in seconds.

    `about` is of the kind: for `ready` it is a whole notification, and the channels it goes to.
    """

    key: str
    kind: NoticeKind
    execution: str | None
    at: float
    about: Mapping[str, JSON]


class Queued(NamedTuple):
    """A notification for one channel. `body` is its JSON; `at` a Unix time in seconds.

    A channel gets each `key` once, or again after `quiet_seconds`. `stands`: it holds until one
    with the same key `is_over`, which is queued only where the first one was sent.
    """

    channel: str
    key: str
    body: bytes
    at: float
    quiet_seconds: float | None = None
    stands: bool = False
    is_over: bool = False


class Unnotified(NamedTuple):
    """A notification that waits to be sent, or stands. Only the journal reads the `handle`."""

    handle: int
    channel: str
    body: bytes
    at: float


class ChannelBacklog(NamedTuple):
    """How many notifications wait for a channel, and since when the oldest does."""

    channel: str
    number: int
    oldest_at: float


class Notifications(Protocol):
    """What people have to be told, until their channels have it."""

    async def notices(self, limit: int) -> list[Notice]:
        """What was noted and not yet turned into notifications, the oldest first."""
        ...

    async def note_ready(self, key: str, execution: str, about: Mapping[str, JSON]) -> None:
        """Note a whole notification, with its channels, unless that key is noted already."""
        ...

    async def notify(self, queued: Sequence[Queued], done: Collection[str]) -> int:
        """Queue notifications, and forget the notices with these keys, in one change. Returns how
        many were new to their channel.
        """
        ...

    async def unnotified(self, channel: str, limit: int) -> list[Unnotified]:
        """What waits for a channel, the oldest first."""
        ...

    async def standing(self) -> list[Unnotified]:
        """What was queued, stands, and is not over."""
        ...

    async def note_notified(self, handles: Collection[int]) -> None:
        """Store that the channel has these."""
        ...

    async def drop_notifications(self, handles: Collection[int], reason: str) -> None:
        """Store why these are not sent."""
        ...

    async def drop_old_notifications(self, before: float, most: int) -> list[ChannelBacklog]:
        """Drop what waits since before that Unix time, and the oldest of a channel for which more
        than `most` wait; returns what was dropped.
        """
        ...

    async def forget_notifications(self, before: float) -> None:
        """Delete what was sent, or dropped, and came before that Unix time."""
        ...

    async def waiting_notifications(self) -> list[ChannelBacklog]:
        """How much waits, by channel."""
        ...
