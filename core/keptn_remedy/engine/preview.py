"""A preview: what an execution would change, and what the rules say of it. Nothing is stored."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Final

from keptn_remedy.action import JSON, AnyAction, Outcome, Plan, PlannedAction
from keptn_remedy.engine.attempts import Attempts
from keptn_remedy.engine.plans import checked_plan
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.value import validated
from keptn_remedy.events import ActionTriggered
from keptn_remedy.guardrails.guard import Guard, Past
from keptn_remedy.guardrails.objections import Objection
from keptn_remedy.journal import Execution
from keptn_remedy.registry import Entry, Registry
from keptn_remedy.support.authored import contained
from keptn_remedy.support.near_names import near

LONGEST_SECONDS: Final = 20.0
# Each one may ask a cluster or a flag server.
MOST_AT_ONCE: Final = 2


@dataclass(frozen=True, slots=True)
class Previewed:
    """What would be done: the action's name, its plan if it plans, and why that is not admitted,
    or not yet. `failure` says why there is no plan where one was wanted. `essence` is what of the
    plan a request is bound to.
    """

    action: str
    plan: Plan | None = None
    objection: Objection | None = None
    failure: Outcome | None = None
    essence: JSON = None


class Preview:
    """Plans without acting. `past` reads the history for the rails that count."""

    def __init__(self, runtime: Runtime, registry: Registry, guard: Guard, past: Past) -> None:
        self._runtime = replace(runtime, dry_run=True, traces=None)
        self._registry = registry
        self._guard = guard
        self._past = past
        self._at_once = asyncio.Semaphore(MOST_AT_ONCE)
        self._under_way: set[asyncio.Task[Previewed]] = set()

    async def of(self, trigger: ActionTriggered) -> Previewed:
        """What an execution of this trigger would do now, if that is known within 20 s.

        Raises:
            LookupError: no action of that name is switched on.
        """
        entry = self._registry.serving(trigger)
        if entry is None or entry.action is None:
            on = (entry for entry in self._registry.entries if entry.action)
            names = (name for entry in on for name in (entry.name, *entry.aliases))
            hint = near(trigger.action, names)
            raise LookupError(f"no action {trigger.action!r} is switched on{hint}")
        # A task of its own: code that ignores its cancellation keeps its place, and nobody waits.
        making = asyncio.create_task(self._made(entry, entry.action, trigger))
        self._under_way.add(making)
        making.add_done_callback(self._under_way.discard)
        try:
            await asyncio.wait((making,), timeout=LONGEST_SECONDS)
        finally:
            making.cancel()
        if making.done():
            return making.result()
        why = f"there is no plan after {LONGEST_SECONDS:g} s"
        return Previewed(entry.name, failure=Outcome.errored(why))

    async def _made(self, entry: Entry, action: AnyAction, trigger: ActionTriggered) -> Previewed:
        execution = Execution(0, trigger, entry.name)
        plan = None
        attempts = Attempts(self._runtime, execution, action)
        try:
            async with self._at_once:
                value = validated(entry, trigger.value)
                if isinstance(action, PlannedAction):
                    plan = checked_plan(await attempts.until_done(action.plan, value))
                essence = essence_of(entry, plan)
                objection = await self._guard.preview(execution, plan, self._past)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001  an author's code may fail in any way
            failure = self._runtime.presentable(attempts.explained(error))
            return Previewed(entry.name, failure=failure)
        return Previewed(entry.name, plan, objection, essence=essence)

    def essence(self, action: str, plan: Plan | None) -> JSON:
        """That of a stored plan; None where its action is off by now, or can't tell."""
        entry = self._registry.find(action)
        try:
            return essence_of(entry, plan) if entry else None
        except Exception:  # noqa: BLE001  an author's code may fail in any way
            return None


def essence_of(entry: Entry, plan: Plan | None) -> JSON:
    """What of a plan a request is bound to, as it is once it was stored."""
    if plan is None or not isinstance(entry.action, PlannedAction):
        return None
    with contained():
        return entry.action.essence(Plan.from_json(plan.to_json()))
