"""The receive path: which events concern us, and storing these before they are acknowledged."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from keptn_remedy import events
from keptn_remedy.action import BaseAction
from keptn_remedy.events import ActionTriggered, Event
from keptn_remedy.guardrails.guard import scope_of
from keptn_remedy.guardrails.matching import InForce
from keptn_remedy.journal import JournalError, Undos
from keptn_remedy.keptn.transports import Receipt
from keptn_remedy.keptn.uniform import Uniform
from keptn_remedy.registry import Entry, Registry
from keptn_remedy.support import logs


class Intake:
    """Decides what is done with each event. Triggers of actions that we don't have get no reply,
    so several providers can share one Keptn.

    An event may also be passed on to subscribers, which answer nothing. `policy` holds the rules in
    force. `accept` stores a trigger with the name of its action, and has it carried out; it returns
    False where the trigger is known.
    `abort_by_event` aborts the executions whose sequence the event ends, and returns their ids.
    `uniform` has our subscriptions, where no distributor has.
    """

    def __init__(
        self,
        registry: Registry,
        journal: Undos,
        policy: InForce,
        accept: Callable[[ActionTriggered, str], Awaitable[bool]],
        abort_by_event: Callable[[Event], Awaitable[Sequence[str]]],
        uniform: Uniform | None = None,
    ) -> None:
        self._registry = registry
        self._journal = journal
        self._policy = policy
        self._accept = accept
        self._abort_by_event = abort_by_event
        self._uniform = uniform

    async def accept(self, event: Event) -> Receipt:
        """Store an event that concerns us. Never raises, and never waits for an action."""
        received: Receipt | None = None
        try:
            if event.id.startswith(events.REQUEST):
                return _ignored(event.id, f"ids that begin with {events.REQUEST} are given here")
            if self._registry.subscribers:
                received = await self._pass_on(event)
            if event.type.endswith(".triggered"):
                receipt = await self._take_trigger(events.trigger_of(event))
            else:
                receipt = await self._take_ending(event)
        except events.Unusable as error:
            if received:
                return received
            logs.logger().warning("event ignored", event_id=event.id, reason=str(error))
            return Receipt("ignored", str(error))
        except JournalError as error:
            logs.logger().error("event not stored", event_id=event.id, reason=str(error))
            return Receipt("unavailable", "the journal can't be written")
        return received if received and receipt.kind == "ignored" else receipt

    async def request(self, trigger: ActionTriggered) -> str | None:
        """Store a trigger that somebody asked for here; why not, where it isn't ours.

        Raises:
            JournalError: it could not be stored.
        """
        entry = self._registry.serving(trigger)
        if entry is None:
            return self._why_not_ours(trigger)
        if leaver := self._leaves(entry, entry.name, trigger):
            return f"{leaver} leaves it to other providers"
        await self._accept(trigger, entry.name)
        return None

    async def _pass_on(self, event: Event) -> Receipt | None:
        """Store the event for each of its subscribers that can use it; None if there is none."""
        receipt: Receipt | None = None
        for entry in self._registry.subscribers_to(event.type):
            name = entry.name
            try:
                trigger = events.for_subscriber(event, name)
            except events.Unusable as error:
                # To others, and as a trigger or an ending, the event may be of use.
                logs.logger().warning(
                    "event not passed on", event_id=event.id, subscriber=name, reason=str(error)
                )
                continue
            if self._uniform and not self._uniform.lets_pass(trigger):
                continue
            if self._leaves(entry, name, trigger):
                continue
            is_new = await self._accept(trigger, name)
            receipt = receipt or Receipt("accepted" if is_new else "duplicate", trigger.id)
        return receipt

    async def _take_trigger(self, trigger: ActionTriggered) -> Receipt:
        entry = self._registry.serving(trigger)
        if entry is None:
            return _ignored(trigger.id, self._why_not_ours(trigger))
        if self._uniform and not self._uniform.lets_pass(trigger):
            return _ignored(trigger.id, "no subscription of ours in Keptn's uniform matches it")
        action = entry.name
        may_leave = self._policy.rules.may_ignore or entry.cls.accepts is not BaseAction.accepts
        if may_leave and (leaver := self._leaves(entry, action, trigger)):
            return _ignored(trigger.id, f"{leaver} leaves it to other providers")
        is_new = await self._accept(trigger, action)
        return Receipt("accepted" if is_new else "duplicate", trigger.id)

    def _why_not_ours(self, trigger: ActionTriggered) -> str:
        known = self._registry.meant_by(trigger)
        if known:
            return f"the action {known.name} is off: {known.off}"
        if trigger.task != events.ACTION:
            return f"there is no action for the task {trigger.task!r} here"
        name = trigger.action
        return f"there is no action {name!r} here" if name else "data.action.action is missing"

    def _leaves(self, entry: Entry, action: str, trigger: ActionTriggered) -> str | None:
        """The action or the rule that says that a trigger isn't meant for us."""
        if entry.cls.accepts is not BaseAction.accepts and _declines(entry, trigger):
            return f"the action {action}"
        rule = self._ignoring_rule(trigger, action)
        return f"rule {rule!r}" if rule else None

    def _ignoring_rule(self, trigger: ActionTriggered, action: str) -> str | None:
        rules = self._policy.rules
        if not rules.may_ignore:
            return None
        resolved = rules.resolve(scope_of(trigger, action, rules.label_names))
        return resolved.rule("decision") if resolved.decision == "ignore" else None

    async def _take_ending(self, event: Event) -> Receipt:
        context = events.closed_problem(event)
        if context and (undone := await self._journal.problem_closed(context)):
            return Receipt("noted", f"executions to undo, as their problem is closed: {undone}")
        if aborted := await self._abort_by_event(event):
            return Receipt("noted", f"executions aborted: {len(aborted)}")
        if events.is_an_ending(event.type):
            return _ignored(event.id, "it ends no execution of ours")
        raise events.Unusable(f"type {event.type[:100]} triggers no task")


def _declines(entry: Entry, trigger: ActionTriggered) -> bool:
    """Whether the action says that a trigger isn't meant for us, or fails to say anything."""
    try:
        return entry.action is None or not entry.action.accepts(trigger)
    except BaseException as error:  # noqa: BLE001  an author's code may fail in any way
        logs.logger().error(
            "an action can't tell whether a trigger is its own",
            exc_info=error,
            **logs.execution_fields(trigger, entry.name),
        )
        return True


def _ignored(event_id: str, reason: str) -> Receipt:
    logs.logger().info("event ignored", event_id=event_id, reason=reason)
    return Receipt("ignored", reason)
