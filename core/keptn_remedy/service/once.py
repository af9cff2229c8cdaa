"""One trigger's action run without Keptn, or undone, with a journal that is thrown away."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from keptn_remedy.action import Outcome, Plan
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.reporting import Reporting
from keptn_remedy.engine.runner import Runner
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.slots import Slots
from keptn_remedy.engine.taking import Taking
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.undo.undoer import Undoer
from keptn_remedy.engine.value import Values
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.events import ActionTriggered, Replies
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.http_client import lent_session
from keptn_remedy.journal import Ending, Execution, Undo
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.registry import Registry
from keptn_remedy.service.wiring import installed_version, secrets_in
from keptn_remedy.settings import KeptnSettings
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics


async def run_once(
    actions: Registry,
    event: ActionTriggered,
    *,
    dry_run: bool,
    clock: Clock | None = None,
    replicas: ReplicaSettings | None = None,
) -> Outcome:
    """Run one trigger's action without Keptn, under the built-in rules.

    Raises:
        LookupError: no switched-on action has that name.
    """
    async with _runtime(actions, clock or Clock(), dry_run=dry_run) as runtime:
        taking = Taking(
            runtime=runtime,
            registry=actions,
            guard=_guard(runtime, replicas),
            values=Values(runtime),
            room=WaitingRoom(Slots(1), runtime.clock),
            locks=TargetLocks(),
            overdue=Overdue(),
        )
        reporting = Reporting(Replies("keptn-remedy"), runtime.clock, send=lambda unsent: None)
        return await Runner(taking, reporting).run(await _accepted(runtime, actions, event))


async def undo_once(
    actions: Registry, event: ActionTriggered, plan: Plan, *, clock: Clock | None = None
) -> Undo:
    """Undo an execution that has carried out the plan, as `remedy undo` would have it undone.

    Raises:
        LookupError: no switched-on action has that name, or there is nothing to undo.
    """
    async with _runtime(actions, clock or Clock()) as runtime:
        journal = runtime.journal
        execution = await _accepted(runtime, actions, event)
        await journal.admit(execution, plan, (), lambda history: None)
        await journal.finish(execution, Ending(Outcome.passed("applied")), attempts=1)
        if why_not := await journal.want_undo(execution.id, "an order", "somebody"):
            raise LookupError(why_not)
        (due,) = await journal.due_undos(runtime.clock.now(), 1)
        await Undoer(runtime, actions, _guard(runtime), TargetLocks(), Overdue()).undo(due)
        return await journal.undo_of(execution.id) or due


async def _accepted(runtime: Runtime, actions: Registry, event: ActionTriggered) -> Execution:
    entry = actions.find(event.action)
    if entry is None:
        raise LookupError(f"no action {event.action!r} is switched on")
    execution = await runtime.journal.accept(event, entry.name)
    if execution is None:
        raise LookupError("an empty journal knows the trigger")
    return execution


def _guard(runtime: Runtime, replicas: ReplicaSettings | None = None) -> Guard:
    return Guard.built_in(runtime.journal, runtime.clock, replicas or ReplicaSettings())


@asynccontextmanager
async def _runtime(
    actions: Registry, clock: Clock, *, dry_run: bool = False
) -> AsyncGenerator[Runtime]:
    with TemporaryDirectory(prefix="keptn-remedy-") as folder:
        journal = SqliteJournal.open(Path(folder) / "journal.db", now=clock.now)
        try:
            async with lent_session() as http:
                yield Runtime(
                    journal=journal,
                    http=http,
                    metrics=Metrics(installed_version()),
                    clock=clock,
                    mask=Mask(secrets_in(actions, KeptnSettings())),
                    dry_run=dry_run,
                )
        finally:
            await journal.close()
