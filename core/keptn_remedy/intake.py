"""What arrives: ours or not, new or known; stored before it is acknowledged."""

from __future__ import annotations

from collections.abc import Callable

from keptn_remedy import events, logs
from keptn_remedy.events import Event
from keptn_remedy.journal import Execution, Journal, JournalError
from keptn_remedy.registry import Registry
from keptn_remedy.transports import Answer


class Intake:
    """Decides on each event. What isn't ours is met with silence towards Keptn."""

    def __init__(
        self, registry: Registry, journal: Journal, offer: Callable[[Execution], None]
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._offer = offer

    async def accept(self, event: Event) -> Answer:
        """Store a trigger that is ours. Never raises; never waits for the action."""
        try:
            trigger = events.trigger_of(event)
        except events.Unusable as error:
            logs.logger().warning("event ignored", event_id=event.id, reason=str(error))
            return Answer("ignored", str(error))
        entry = self._registry.find(trigger.action)
        if entry is None:
            reason = f"no action {trigger.action!r} here" if trigger.action else "no action named"
            logs.logger().info("event ignored", event_id=event.id, reason=reason)
            return Answer("ignored", reason)
        try:
            execution = await self._journal.accept(trigger, entry.name)
        except JournalError as error:
            fields = logs.execution_fields(trigger, entry.name)
            logs.logger().error("event not stored", **fields, reason=str(error))
            return Answer("unavailable", "the journal can't be written")
        if execution is None:
            return Answer("duplicate", trigger.id)
        self._offer(execution)
        return Answer("accepted", trigger.id)
