"""The sweep: tasks that Keptn waits for, and that the journal doesn't know."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keptn_remedy import events
from keptn_remedy.action import Outcome
from keptn_remedy.events import ActionTriggered, Event, Replies
from keptn_remedy.guardrails.matching import InForce
from keptn_remedy.journal import JournalError, Triggers, Unsent
from keptn_remedy.keptn.control_plane import ControlPlane, TaskState
from keptn_remedy.keptn.dispatched import may_be_queued, place_of
from keptn_remedy.keptn.reopened_tasks import ReopenedTasks
from keptn_remedy.keptn.subscriptions import Filters
from keptn_remedy.keptn.transports import Accept
from keptn_remedy.keptn.uniform import Uniform
from keptn_remedy.registry import Entry, Registry
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

SWEEP_SECONDS: Final = 60.0
# A younger trigger may still be delivered: the distributor tries for 5 s, and polls every 10 s
# (docs/keptn.md#k1).
DELIVERY_TIME: Final = timedelta(seconds=30)
LOST: Final = Outcome.errored("lost with an earlier journal")
_RUNNING: Final = ("triggered", "started")


@dataclass(frozen=True, slots=True)
class _Missed:
    """A trigger that the journal doesn't know."""

    event: Event
    trigger: ActionTriggered
    entry: Entry
    triggered_at: datetime


class MissedTriggers:
    """Accepts triggers that were never delivered, and finishes executions whose journal was lost.

    `accept` takes an event as if it had been delivered; with None, undelivered triggers are left
    alone. `report` is called with each stored `finished` of a lost execution; with None, lost
    executions stay open. `compare` is called with the ids of all tasks that Keptn waits for.
    `reopened` answers what was closed as aborted and is open again. `policy` holds the rules in
    force.
    """

    def __init__(
        self,
        journal: Triggers,
        control_plane: ControlPlane,
        registry: Registry,
        clock: Clock,
        replies: Replies,
        *,
        filters: Filters,
        uniform: Uniform | None = None,
        policy: InForce,
        accept: Accept | None,
        report: Callable[[Unsent], None] | None,
        reopened: ReopenedTasks | None = None,
        compare: Callable[[Collection[str]], Awaitable[None]],
    ) -> None:
        self._journal = journal
        self._control_plane = control_plane
        self._registry = registry
        self._clock = clock
        self._replies = replies
        self._filters = filters
        self._uniform = uniform
        self._policy = policy
        self._accept = accept
        self._report = report
        self._reopened = reopened
        self._compare = compare
        # Triggers that `accept` ignored under these rules: they are not offered to it again.
        self._ignored: set[str] = set()
        self._ignored_under = policy.rules
        # Since when Keptn lists what looks too young, by the monotonic clock.
        self._young: dict[str, float] = {}

    async def run(self) -> None:
        """Sweep at once and then every minute, until cancelled."""
        while True:
            # `journal.maintenance.watch` reports the outage
            with logs.surviving("the sweep"), suppress(JournalError):
                await self.once()
            await self._clock.sleep(SWEEP_SECONDS)

    async def once(self) -> None:
        """Go through all tasks that Keptn waits for. Nothing happens where it can't be asked.

        Raises:
            JournalError: the journal can't be used.
        """
        if self._ignored_under is not (rules := self._policy.rules):
            self._ignored.clear()
            self._ignored_under = rules
        listed = await self._control_plane.open_triggers()
        if listed is None:
            return
        if self._reopened:
            await self._reopened.answer(listed.keys())
        await self._compare(listed.keys())
        held_up: set[tuple[str, str, str]] = set()
        for missed in await self._missed(listed):
            trigger = missed.trigger
            service = trigger.project, trigger.stage, trigger.service
            if service not in held_up and not await self._take_up(missed):
                held_up.add(service)

    async def _take_up(self, missed: _Missed) -> bool:
        """Whether what was triggered after it in its service may be taken up as well."""
        trigger = missed.trigger
        where = trigger.project, trigger.context, trigger.id
        task = await self._control_plane.task(*where)
        if task is None:
            return await self._control_plane.progress(*where) is not None
        if self._is_lost(task):
            await self._finish_lost(missed)
        elif self._is_undelivered(task):
            if await may_be_queued(self._control_plane, place_of(missed.event)):
                return False
            return await self._accept_late(missed)
        return True

    async def _missed(self, listed: Mapping[str, bytes]) -> list[_Missed]:
        """Those that are ours, unknown to the journal and old enough, oldest first."""
        self._ignored &= listed.keys()
        self._young = {id_: since for id_, since in self._young.items() if id_ in listed}
        known = await self._journal.known(listed.keys())
        left = known | self._ignored
        # Keptn lists the newest first (docs/keptn.md#k33), also of those with the same time.
        oldest_first = (listed[id_] for id_ in reversed(list(listed)) if id_ not in left)
        missed = filter(None, map(self._read, oldest_first))
        return sorted(missed, key=lambda missed: missed.triggered_at)

    def _read(self, body: bytes) -> _Missed | None:
        try:
            event = events.read_structured(body)
            trigger = events.trigger_of(event)
        except (events.NotACloudEvent, events.Unusable):
            return None
        entry = self._registry.serving(trigger)
        if entry is None or not self._let_pass(trigger):
            return None
        if event.time is None or self._is_young(event.id, event.time):
            return None
        return _Missed(event, trigger, entry, event.time)

    def _let_pass(self, trigger: ActionTriggered) -> bool:
        if self._uniform:
            return not self._uniform.is_awaited and self._uniform.lets_pass(trigger)
        return self._filters.let_pass(trigger.project, trigger.stage, trigger.service)

    def _is_young(self, event_id: str, triggered_at: datetime) -> bool:
        """Whether it may still be delivered. Keptn's clock may be ahead of ours: then it counts for
        how long the trigger has been listed.
        """
        if self._clock.utc() - triggered_at >= DELIVERY_TIME:
            return False
        now = self._clock.monotonic()
        return now - self._young.setdefault(event_id, now) < DELIVERY_TIME.total_seconds()

    def _is_lost(self, task: TaskState) -> bool:
        """Whether our source started it and never finished it; this journal doesn't know it."""
        source = self._replies.source
        began = task.has("started", source) and not task.has("finished", source)
        return self._report is not None and began

    def _is_undelivered(self, task: TaskState) -> bool:
        return self._accept is not None and task.sequence in _RUNNING and not task.events

    async def _accept_late(self, missed: _Missed) -> bool:
        """Whether the journal could take it."""
        if self._accept is None:
            return True
        receipt = await self._accept(missed.event)
        if receipt.kind == "accepted":
            fields = logs.execution_fields(missed.trigger, missed.entry.name)
            logs.logger().warning("accepted a trigger that was not delivered", **fields)
        elif receipt.kind == "ignored":
            self._ignored.add(missed.trigger.id)
        return receipt.kind != "unavailable"

    async def _finish_lost(self, missed: _Missed) -> None:
        """Store the execution as finished with an error, and report that."""
        trigger, name = missed.trigger, missed.entry.name
        report = self._replies.finished(
            trigger,
            self._clock.utc(),
            status=LOST.status,
            result=LOST.result,
            message=LOST.message,
            details=LOST.details,
        )
        for unsent in await self._journal.finish_lost(trigger, name, LOST, report):
            fields = logs.execution_fields(trigger, name)
            logs.logger().error("finished an execution that was lost", **fields)
            if self._report:
                self._report(unsent)
