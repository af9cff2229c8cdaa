"""What arrives: ours or not, new or known; stored before it is acknowledged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from keptn_remedy import events
from keptn_remedy.events import ActionTriggered, Event
from keptn_remedy.guardrails.guard import scope_of
from keptn_remedy.guardrails.matching import Rules
from keptn_remedy.journal import Execution, Journal, JournalError
from keptn_remedy.keptn.transports import Receipt
from keptn_remedy.registry import Entry, Registry
from keptn_remedy.support import logs


class Intake:
    """Decides on each event. What isn't ours is met with silence towards Keptn.

    `rules` are those in force, `offer` takes what was stored, and `aborted_by` the end of a
    sequence: it returns the ids of the executions that are given up for it.
    """

    def __init__(
        self,
        registry: Registry,
        journal: Journal,
        rules: Callable[[], Rules],
        offer: Callable[[Execution], None],
        aborted_by: Callable[[Event], Awaitable[Sequence[str]]],
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._rules = rules
        self._offer = offer
        self._aborted_by = aborted_by

    async def accept(self, event: Event) -> Receipt:
        """Store what concerns us. Never raises; never waits for the action."""
        try:
            if event.type != events.TRIGGERED:
                return await self._ending(event)
            return await self._trigger(events.trigger_of(event))
        except events.Unusable as error:
            logs.logger().warning("event ignored", event_id=event.id, reason=str(error))
            return Receipt("ignored", str(error))
        except JournalError as error:
            logs.logger().error("event not stored", event_id=event.id, reason=str(error))
            return Receipt("unavailable", "the journal can't be written")

    async def _trigger(self, trigger: ActionTriggered) -> Receipt:
        entry = self._registry.find(trigger.action)
        if entry is None:
            return _ignored(trigger.id, self._why_not_ours(trigger.action))
        if rule := self._ignoring_rule(trigger, entry):
            return _ignored(trigger.id, f"rule {rule!r} leaves it to others")
        execution = await self._journal.accept(trigger, entry.name)
        if execution is None:
            return Receipt("duplicate", trigger.id)
        self._offer(execution)
        return Receipt("accepted", trigger.id)

    def _why_not_ours(self, name: str) -> str:
        known = self._registry.entry(name) if name else None
        if known:
            return f"the action {known.name} is off: {known.off}"
        return f"no action {name!r} here" if name else "no action named"

    def _ignoring_rule(self, trigger: ActionTriggered, entry: Entry) -> str | None:
        rules = self._rules()
        if not rules.may_ignore:
            return None
        resolved = rules.resolve(scope_of(trigger, entry.name, rules.label_names))
        return resolved.rule("decision") if resolved.decision == "ignore" else None

    async def _ending(self, event: Event) -> Receipt:
        context = events.closed_problem(event)
        if context and (undone := await self._journal.problem_closed(context)):
            return Receipt("noted", f"executions undone when their problem closes: {undone}")
        if given_up := await self._aborted_by(event):
            return Receipt("noted", f"executions given up: {len(given_up)}")
        if events.tells_an_ending(event.type):
            return _ignored(event.id, "it ends nothing of ours")
        raise events.Unusable(f"type {event.type[:100]} is not {events.TRIGGERED}")


def _ignored(event_id: str, reason: str) -> Receipt:
    logs.logger().info("event ignored", event_id=event_id, reason=reason)
    return Receipt("ignored", reason)
