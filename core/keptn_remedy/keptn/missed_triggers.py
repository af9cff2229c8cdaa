"""What was missed: tasks that Keptn waits for, and that never reached the journal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from keptn_remedy import events
from keptn_remedy.action import Outcome
from keptn_remedy.events import FINISHED, STARTED, ActionTriggered, Event, Replies
from keptn_remedy.guardrails.matching import Rules
from keptn_remedy.journal import Journal, JournalError, Unsent
from keptn_remedy.keptn.control_plane import ControlPlane, TaskState
from keptn_remedy.keptn.transports import Accept
from keptn_remedy.registry import Entry, Registry
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

SWEEP_SECONDS: Final = 60.0
# The distributor gives up after 5 s, and a poller looks every 10 s (contract §9.1).
DELIVERY: Final = timedelta(seconds=30)
LOST: Final = Outcome.errored("lost by a restart")
_RUNNING: Final = ("triggered", "started")


@dataclass(frozen=True, slots=True)
class Filters:
    """Whose triggers are ours, as the distributor is told; nothing is no restriction."""

    projects: tuple[str, ...] = ()
    stages: tuple[str, ...] = ()
    services: tuple[str, ...] = ()

    def let_pass(self, trigger: ActionTriggered) -> bool:
        wanted = (self.projects, self.stages, self.services)
        found = (trigger.project, trigger.stage, trigger.service)
        return all(name in names for names, name in zip(wanted, found, strict=True) if names)


@dataclass(frozen=True, slots=True)
class _Missed:
    """A trigger that the journal doesn't know."""

    event: Event
    trigger: ActionTriggered
    entry: Entry
    triggered_at: datetime


class MissedTriggers:
    """Takes up what was never delivered, and answers what an earlier journal had begun.

    `accept` takes an event as if it had been delivered, going by the `rules` in force; None leaves
    those to Keptn. `tell` is given the answers to executions that were lost with a journal; None
    leaves those open.
    """

    def __init__(
        self,
        journal: Journal,
        control_plane: ControlPlane,
        registry: Registry,
        clock: Clock,
        replies: Replies,
        *,
        filters: Filters,
        rules: Callable[[], Rules],
        accept: Accept | None,
        tell: Callable[[Unsent], None] | None,
    ) -> None:
        self._journal = journal
        self._control_plane = control_plane
        self._registry = registry
        self._clock = clock
        self._replies = replies
        self._filters = filters
        self._rules = rules
        self._accept = accept
        self._tell = tell
        # Nobody asks twice, by the same rules, about what `accept` did not want.
        self._unwanted: set[str] = set()
        self._unwanted_by = rules()

    async def run(self) -> None:
        """Look at once and every minute, until cancelled."""
        while True:
            with suppress(JournalError):  # whoever writes to it tells that it fails
                await self.once()
            await self._clock.sleep(SWEEP_SECONDS)

    async def once(self) -> None:
        """Look through what Keptn waits for. Where it can't be asked, nothing happens."""
        if self._unwanted_by is not (rules := self._rules()):
            self._unwanted.clear()
            self._unwanted_by = rules
        listed = await self._control_plane.open_triggers()
        if listed is None:
            return
        for missed in await self._missed(listed):
            trigger = missed.trigger
            task = await self._control_plane.task(trigger.project, trigger.context, trigger.id)
            if task is None:
                continue
            if self._is_lost(task):
                await self._answer(missed)
            elif self._is_unanswered(task) and not await self._may_be_queued(missed):
                await self._take_up(missed)

    async def _missed(self, listed: Mapping[str, bytes]) -> list[_Missed]:
        """What is unknown to the journal, ours, and old enough; the oldest first."""
        self._unwanted &= listed.keys()
        known = await self._journal.known(listed.keys())
        unknown = (listed[id_] for id_ in listed.keys() - known - self._unwanted)
        missed = filter(None, map(self._read, unknown))
        return sorted(missed, key=lambda missed: missed.triggered_at)

    def _read(self, body: bytes) -> _Missed | None:
        try:
            event = events.read_structured(body)
            trigger = events.trigger_of(event)
        except (events.NotACloudEvent, events.Unusable):
            return None
        entry = self._registry.find(trigger.action)
        if entry is None or not self._filters.let_pass(trigger):
            return None
        if event.time is None or self._clock.utc() - event.time < DELIVERY:
            return None
        return _Missed(event, trigger, entry, event.time)

    def _is_lost(self, task: TaskState) -> bool:
        """Whether we began it, and nobody here remembers."""
        source = self._replies.source
        began = task.has(STARTED, source) and not task.has(FINISHED, source)
        return self._tell is not None and began

    def _is_unanswered(self, task: TaskState) -> bool:
        return self._accept is not None and task.sequence in _RUNNING and not task.events

    async def _may_be_queued(self, missed: _Missed) -> bool:
        """Whether Keptn may hold the trigger back, which its API does not show: it dispatches a
        task of a stage only when no other sequence runs there (eventdispatcher.go).
        """
        trigger = missed.trigger
        running = await self._control_plane.running_tasks(trigger.project, trigger.stage)
        if running is None:
            return True
        for other in running:
            if other.triggered_id != trigger.id and await self._goes_first(other, missed):
                return True
        return False

    async def _goes_first(self, other: TaskState, missed: _Missed) -> bool:
        if other.events:
            return True
        body = await self._control_plane.open_trigger(missed.trigger.project, other)
        if body is None:  # unknown, or not due yet, such as an evaluation after ten minutes
            return True
        try:
            triggered_at = events.read_structured(body).time
        except events.NotACloudEvent:
            return True
        return triggered_at is None or triggered_at < missed.triggered_at

    async def _take_up(self, missed: _Missed) -> None:
        if self._accept is None:
            return
        answer = await self._accept(missed.event)
        if answer.kind == "accepted":
            fields = logs.execution_fields(missed.trigger, missed.entry.name)
            logs.logger().warning("taken up a trigger that was not delivered", **fields)
        elif answer.kind == "ignored":
            self._unwanted.add(missed.trigger.id)

    async def _answer(self, missed: _Missed) -> None:
        """Tell Keptn that the execution is lost; the journal then knows it."""
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
            logs.logger().error("answered an execution that was lost", **fields)
            if self._tell:
                self._tell(unsent)
