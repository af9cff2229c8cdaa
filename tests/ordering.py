"""What operators meet: executions that ask or have changed something, and the commands."""

from __future__ import annotations

import asyncio
import time
from contextlib import chdir
from pathlib import Path
from typing import Any

import orjson
from typer.testing import CliRunner

from keptn_remedy import Change, Outcome, Plan, events
from keptn_remedy.cli.commands import app
from keptn_remedy.events import Replies
from keptn_remedy.journal import Effect, Ending, Execution, Question
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.support.clock import Clock
from keptn_remedy.testing import triggered
from tests.commands import Said

JOURNAL = "journal.db"
TARGET = "deployments.apps/shop/carts"
PLAN = Plan((Change(TARGET, "replicas", 1, 2),))
REPLIES = Replies("keptn-remedy")


async def begun(journal: SqliteJournal, **fields: Any) -> Execution:
    """An execution that runs."""
    trigger = events.stored_trigger(orjson.dumps(triggered("scale", **fields)))
    execution = await journal.accept(trigger, "scale")
    assert execution
    await journal.begin(execution, REPLIES.started(trigger, Clock().utc()))
    return execution


async def asking(journal: SqliteJournal, plan: Plan = PLAN, **fields: Any) -> Execution:
    """An execution that waits for an answer."""
    execution = await begun(journal, **fields)
    now = time.time()
    await journal.ask(execution, Question(plan, "production", now, now + 900))
    return execution


async def ended(journal: SqliteJournal, outcome: Outcome | None = None, **fields: Any) -> Execution:
    """An execution that has changed something, and ended."""
    execution = await begun(journal, **fields)
    trigger = execution.trigger
    effect = Effect(
        TARGET,
        "scale",
        trigger.project,
        trigger.stage,
        trigger.service,
        trigger.context,
        planned=True,
    )
    await journal.admit(execution, PLAN, [effect], lambda history: None)
    outcome = outcome or Outcome.passed("2 replicas")
    await journal.finish(execution, Ending(outcome, is_failure=outcome.is_failure), attempts=1)
    return execution


async def say(folder: Path, *arguments: str, **variables: str) -> Said:
    """One command, while this process goes on as the service."""
    environ = {"REMEDY_JOURNAL": JOURNAL, **variables}

    def invoke() -> Said:
        with chdir(folder):
            done = CliRunner().invoke(app, arguments, env=environ, catch_exceptions=False)
        return Said(done.exit_code, done.stdout, done.stderr)

    return await asyncio.to_thread(invoke)
