"""Turns what the journal noted into notifications, and has them brought to their channels."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import orjson

from keptn_remedy.events import NotACloudEvent, Unusable, stored_trigger
from keptn_remedy.guardrails.guard import scope_of
from keptn_remedy.guardrails.matching import InForce, Resolved, Scope
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.journal import (
    ChannelBacklog,
    JournalError,
    Notice,
    Notifications,
    Pause,
    Queued,
    Unnotified,
    WholeRecord,
)
from keptn_remedy.notifications.composing import Composer, resumed
from keptn_remedy.notifications.courier import Courier
from keptn_remedy.notifications.notification import Notification
from keptn_remedy.notifications.routes import Routes
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics

LOOK_SECONDS, IDLE_SECONDS = 1.0, 60.0
AT_ONCE = 100
# The same refusal is told once in so many seconds.
QUIET_SECONDS = 900.0
# After that nobody is helped by it any more.
GIVE_UP_SECONDS = 24 * 3_600.0
MOST_WAITING = 10_000
# By what was sent duplicates are recognised.
KEPT_SECONDS = 7 * 86_400.0
TIDY_SECONDS = 60.0


class Notifier:
    """Reads the notices, words them, and queues them for the channels that are to hear of them.

    Without channels it only deletes the notices.
    """

    def __init__(
        self,
        journal: Notifications,
        record: Callable[[str], Awaitable[WholeRecord | None]],
        couriers: Sequence[Courier],
        *,
        routes: Routes,
        policy: InForce,
        pauses: Pauses,
        composer: Composer,
        clock: Clock,
        mask: Mask,
        metrics: Metrics,
    ) -> None:
        self._journal = journal
        self._record = record
        self._couriers = {courier.name: courier for courier in couriers}
        self._routes = routes
        self._policy = policy
        self._pauses = pauses
        self._composer = composer
        self._clock = clock
        self._mask = mask
        self._metrics = metrics
        self._tidied_at: float | None = None
        self._paused: Pause | None = None

    @property
    def troubles(self) -> list[str]:
        """Channels that take nothing, and why."""
        return [why for courier in self._couriers.values() if (why := courier.trouble)]

    async def run(self) -> None:
        """Notify, until cancelled."""
        await asyncio.gather(self._run(), *(each.run() for each in self._couriers.values()))

    async def look(self) -> None:
        """Queue what was noted since, and what ends what stands.

        Raises:
            JournalError: the journal can't be used.
        """
        while notices := await self._journal.notices(AT_ONCE):
            queued = [one for notice in notices for one in await self._queued_unless_broken(notice)]
            await self._notify(queued, [notice.key for notice in notices])
        if self._couriers:
            await self._look_at_what_stands()
            await self._tidy()

    async def _run(self) -> None:
        while True:
            # `journal.maintenance.watch` reports the outage.
            with logs.surviving("noticing"), suppress(JournalError):
                await self.look()
            await self._clock.sleep(LOOK_SECONDS if self._couriers else IDLE_SECONDS)

    async def _queued_unless_broken(self, notice: Notice) -> list[Queued]:
        try:
            return await self._queued(notice)
        except JournalError:
            raise
        except Exception as error:  # noqa: BLE001  it must not stand in the way of all others
            logs.logger().error("a notice can't be told", key=notice.key, exc_info=error)
            return []

    async def _queued(self, notice: Notice) -> list[Queued]:
        if notice.kind == "ready":
            return self._ready(notice)
        record = await self._record(notice.execution or "") if self._couriers else None
        if record is None:
            return []
        found = self._composer.composed(notice, record)
        if found is None:
            return []
        channels = self._routes.channels(found.kind, self._rules(record))
        return [self._for(channel, found) for channel in channels]

    def _ready(self, notice: Notice) -> list[Queued]:
        found, channels = read_ready(notice)
        return [self._for(channel, found) for channel in channels if channel in self._couriers]

    def _for(self, channel: str, notification: Notification) -> Queued:
        masked = replace(
            notification,
            title=self._mask.text(notification.title),
            text=self._mask.text(notification.text),
            facts=self._mask.value(notification.facts),
        )
        is_repeated = notification.kind in ("refused", "suspended")
        return Queued(
            channel,
            notification.key,
            masked.to_json(),
            notification.at,
            quiet_seconds=QUIET_SECONDS if is_repeated else None,
            stands=notification.stands,
            is_over=notification.is_over,
        )

    async def _notify(self, queued: Sequence[Queued], done: Sequence[str] = ()) -> None:
        if not (queued or done) or not await self._journal.notify(queued, done):
            return
        for channel in {one.channel for one in queued}:
            if courier := self._couriers.get(channel):
                courier.look.set()

    def _rules(self, record: WholeRecord) -> list[Resolved]:
        """The rules of all that it would touch, or touched."""
        rules = self._policy.rules
        plan = record.plan or (record.question.plan if record.question else None)
        targets: list[str | None] = [*plan.targets] if plan and plan.targets else [None]
        try:
            trigger = stored_trigger(record.event)
        except (NotACloudEvent, Unusable):
            whole = Scope(record.project, record.stage, record.service, record.action)
            return [rules.resolve(whole)]
        labels = rules.label_names
        return [rules.resolve(scope_of(trigger, record.action, labels, each)) for each in targets]

    async def _look_at_what_stands(self) -> None:
        """End what is over, and begin the pause's."""
        standing = [(one, _body(one)) for one in await self._journal.standing()]
        over: list[Queued] = []
        for one, first in standing:
            if first and (last := await self._over(first)):
                over.append(self._for(one.channel, last))
        pause = self._pauses.current
        begun = self._begun(pause) if pause else []
        await self._notify([*over, *begun])
        # Once it is stored: each channel gets it once.
        self._paused = pause

    def _begun(self, pause: Pause) -> list[Queued]:
        """What tells of the pause in force, if it is new."""
        if pause == self._paused:
            return []
        first = self._composer.paused(pause)
        rules = [self._policy.rules.resolve(Scope("", "", "", ""))]
        return [self._for(channel, first) for channel in self._routes.channels("paused", rules)]

    async def _over(self, first: Notification) -> Notification | None:
        """What ends this one, if something does."""
        if first.kind == "paused":
            pause = self._pauses.current
            is_same = pause is not None and self._composer.paused(pause).key == first.key
            return None if is_same else resumed(first, self._clock.now())
        if first.kind == "approval":
            record = await self._record(first.facts.get("execution", ""))
            return self._composer.answered(first, record)
        return None

    async def _tidy(self) -> None:
        now, wall = self._clock.monotonic(), self._clock.now()
        if self._tidied_at is None or now - self._tidied_at >= TIDY_SECONDS:
            self._tidied_at = now
            dropped = await self._journal.drop_old_notifications(
                wall - GIVE_UP_SECONDS, MOST_WAITING
            )
            for given_up in dropped:
                self._tell(given_up)
            await self._journal.forget_notifications(wall - KEPT_SECONDS)
        self._measure(await self._journal.waiting_notifications(), wall)

    def _tell(self, given_up: ChannelBacklog) -> None:
        courier = self._couriers.get(given_up.channel)
        self._metrics.notifications(given_up.channel, "given_up").inc(given_up.number)
        logs.logger().error(
            "notifications given up",
            channel=given_up.channel,
            count=given_up.number,
            reason=(courier.trouble if courier else "there is no such channel") or "too many",
        )

    def _measure(self, waiting: Sequence[ChannelBacklog], now: float) -> None:
        found = {one.channel: one for one in waiting}
        for name in self._couriers:
            one = found.get(name)
            self._metrics.oldest_notification(name).set(max(0.0, now - one.oldest_at) if one else 0)


def read_ready(notice: Notice) -> tuple[Notification, list[str]]:
    """A notification that was noted whole, and its channels."""
    about: Any = notice.about
    return Notification.from_json(orjson.dumps(about["notification"])), list(about["channels"])


def _body(one: Unnotified) -> Notification | None:
    try:
        return Notification.from_json(one.body)
    except (TypeError, ValueError):
        return None
