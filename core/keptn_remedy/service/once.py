"""One trigger carried out without Keptn, or undone, with a journal that is deleted afterwards."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from keptn_remedy.action import NO_FILES, Outcome, Plan, ReadFiles
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.waiting_room import Rest
from keptn_remedy.events import ActionTriggered, Replies
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.http_client import lent_session
from keptn_remedy.journal import Ending, Execution, Journal, Undo, open_journal
from keptn_remedy.registry import Registry
from keptn_remedy.service.engine import Engine, build_engine
from keptn_remedy.service.foundation import installed_version, secrets_in
from keptn_remedy.settings import KeptnSettings, Settings
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
    files: ReadFiles = NO_FILES,
    policy: Policy | None = None,
) -> Outcome:
    """Carry out one trigger without Keptn, under the built-in rules and a policy, if there is one.
    `files` stands for its files.

    Raises:
        LookupError: no switched-on action has that name.
    """
    clock = clock or Clock()
    async with (
        _journal(clock) as journal,
        _engine(journal, actions, clock, replicas, files, policy, dry_run=dry_run) as engine,
    ):
        execution = await _accepted(journal, actions, event)
        while True:
            try:
                return await engine.runner.run(execution)
            except Rest as rest:
                await clock.sleep(rest.until - clock.monotonic())
                execution = replace(execution, has_begun=True)


async def undo_once(
    actions: Registry,
    event: ActionTriggered,
    plan: Plan,
    *,
    clock: Clock | None = None,
    files: ReadFiles = NO_FILES,
) -> Undo:
    """Undo an execution that has carried out this plan, as `remedy undo` would.

    Raises:
        LookupError: no switched-on action has that name, or there is nothing to undo.
    """
    clock = clock or Clock()
    async with (
        _journal(clock) as journal,
        _engine(journal, actions, clock, files=files) as engine,
    ):
        execution = await _accepted(journal, actions, event)
        await journal.admit(execution, plan, (), lambda history: None)
        await journal.finish(execution, Ending(Outcome.passed("applied")), attempts=1)
        if why_not := await journal.want_undo(execution.id, "an order", "somebody"):
            raise LookupError(why_not)
        (due,) = await journal.due_undos(clock.now(), 1)
        await engine.undoer.undo(due)
        return await journal.undo_of(execution.id) or due


async def _accepted(journal: Journal, actions: Registry, event: ActionTriggered) -> Execution:
    entry = actions.serving(event)
    if entry is None:
        raise LookupError(f"no action {event.action or event.task!r} is switched on")
    execution = await journal.accept(event, entry.name)
    if execution is None:
        raise LookupError("an empty journal knows the trigger")
    return execution


@asynccontextmanager
async def _journal(clock: Clock) -> AsyncGenerator[Journal]:
    with TemporaryDirectory(prefix="keptn-remedy-") as folder:
        journal = open_journal(Path(folder) / "journal.db", now=clock.now)
        try:
            yield journal
        finally:
            await journal.close()


@asynccontextmanager
async def _engine(
    journal: Journal,
    actions: Registry,
    clock: Clock,
    replicas: ReplicaSettings | None = None,
    files: ReadFiles = NO_FILES,
    policy: Policy | None = None,
    *,
    dry_run: bool = False,
) -> AsyncGenerator[Engine]:
    """An engine that nothing dispatches to. Its reports are dropped."""
    async with lent_session() as http:
        runtime = Runtime(
            journal=journal,
            http=http,
            metrics=Metrics(installed_version()),
            clock=clock,
            mask=Mask(secrets_in(actions, KeptnSettings())),
            files=files,
            dry_run=dry_run,
        )
        settings = Settings()
        rules = (replicas or ReplicaSettings()).rules(policy, names=actions.names)
        yield build_engine(
            runtime,
            actions,
            Replies(settings.source),
            report=lambda unsent: None,
            guard=Guard.built_in(journal, clock, rules),
            pauses=Pauses(journal),
            settings=settings,
        )
