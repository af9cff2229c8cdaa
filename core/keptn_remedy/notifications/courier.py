"""Brings what waits for one channel there: in order, within its pace, again after failures."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from keptn_remedy.journal import JournalError, Notifications, Unnotified
from keptn_remedy.notifications.channels import Channel
from keptn_remedy.notifications.notification import Notification
from keptn_remedy.notifications.pace import Pace
from keptn_remedy.notifications.secret_file import ChannelTrouble
from keptn_remedy.notifications.sender import NotSent, NotTaken, Sender
from keptn_remedy.notifications.summary import summary
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

AT_ONCE = 500
LOOK_SECONDS = 1.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 60.0
REPEAT_SECONDS = 60.0
# A channel that fails for a moment is nobody's trouble.
TROUBLE_SECONDS = 60.0


@dataclass(slots=True)
class _Failures:
    """How often sending failed in a row, since when, and why at last."""

    count: int = 0
    since: float = 0.0
    reason: str = ""


@dataclass(slots=True)
class Courier:
    """One channel's own lane: what keeps it waiting keeps no other channel, and no report."""

    name: str
    channel: Channel
    pace: Pace
    journal: Notifications
    sender: Sender
    clock: Clock
    metrics: Metrics
    page_url: str | None = None
    look: asyncio.Event = field(default_factory=asyncio.Event)
    _failures: _Failures = field(default_factory=_Failures)
    _repeated_at: float | None = None

    @property
    def trouble(self) -> str | None:
        """Why the channel takes nothing, once it has not for `TROUBLE_SECONDS`."""
        failures = self._failures
        lasts = self.clock.monotonic() - failures.since
        if not failures.count or lasts < TROUBLE_SECONDS:
            return None
        return f"{self.name}: {failures.reason}"

    async def run(self) -> None:
        """Send what waits, until cancelled."""
        while True:
            pause = LOOK_SECONDS
            with logs.surviving("notifying"):
                pause = await self.turn()
            self.look.clear()
            await self.clock.wait(self.look, pause)

    async def turn(self) -> float:
        """Send what may be sent now; returns the seconds until the next turn."""
        try:
            waiting = await self.journal.unnotified(self.name, AT_ONCE)
            turn = self.pace.turn([one.at for one in waiting], self.clock.monotonic())
            if turn.is_summary:
                await self._deliver(waiting, is_summary=True)
            else:
                for one in waiting[: turn.most]:
                    await self._deliver([one])
            await self._repeat()
        except JournalError:
            return LOOK_SECONDS  # `journal.maintenance.watch` reports the outage
        except (NotSent, ChannelTrouble) as error:
            return self._postponed(error)
        return min(turn.wait_seconds or LOOK_SECONDS, REPEAT_SECONDS)

    async def _deliver(self, waiting: Sequence[Unnotified], *, is_summary: bool = False) -> None:
        readable = [(one.handle, found) for one in waiting if (found := _read(one))]
        if not readable:
            await self.journal.drop_notifications([w.handle for w in waiting], "it can't be read")
            return
        told = [found for _, found in readable]
        notification = summary(told, self.page_url) if is_summary else told[0]
        handles = [one.handle for one in waiting]
        try:
            await self._send(notification)
        except NotTaken as error:
            await self._drop(handles, notification, error)
            return
        self.pace.note_sent(is_summary=is_summary)
        await self.journal.note_notified(handles)
        self._count("sent", len(handles))

    async def _repeat(self) -> None:
        """Send what stands again, where the channel forgets it otherwise."""
        if not self.channel.repeats:
            return
        now = self.clock.monotonic()
        if self._repeated_at is not None and now - self._repeated_at < REPEAT_SECONDS:
            return
        self._repeated_at = now
        for one in await self.journal.standing():
            if one.channel == self.name and (found := _read(one)):
                try:
                    await self._send(found)
                except NotTaken as error:  # others stand behind it
                    await self._drop([one.handle], found, error)

    async def _drop(
        self, handles: Sequence[int], notification: Notification, error: NotTaken
    ) -> None:
        await self.journal.drop_notifications(handles, str(error))
        self._count("refused", len(handles))
        logs.logger().error(
            "notification refused for good",
            channel=self.name,
            title=notification.title,
            reason=str(error),
        )

    async def _send(self, notification: Notification) -> None:
        await self.sender.send(await self.channel.posts(notification))
        if self._failures.count and self.trouble:
            logs.logger().info("the channel takes notifications again", channel=self.name)
        self._failures = _Failures()

    def _postponed(self, error: NotSent | ChannelTrouble) -> float:
        """How long to leave the channel alone."""
        failures = self._failures
        if not failures.count:
            failures.since = self.clock.monotonic()
            logs.logger().warning("notification not sent", channel=self.name, reason=str(error))
        failures.count += 1
        failures.reason = str(error)
        self._count("failed")
        if isinstance(error, NotSent) and error.wait_seconds is not None:
            return max(error.wait_seconds, FIRST_PAUSE_SECONDS)
        longest = min(FIRST_PAUSE_SECONDS * 2.0 ** min(failures.count, 10), LONGEST_PAUSE_SECONDS)
        return random.uniform(longest / 2, longest)  # noqa: S311  (jitter, not a secret)

    def _count(self, answer: str, by: int = 1) -> None:
        self.metrics.notifications(self.name, answer).inc(by)


def _read(one: Unnotified) -> Notification | None:
    try:
        return Notification.from_json(one.body)
    except (TypeError, ValueError) as error:
        logs.logger().error("a notification can't be read", reason=repr(error))
        return None
