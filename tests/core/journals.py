"""What tests of the journal share: a clock that is set, triggers, accepted executions."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import orjson

from keptn_remedy import Change, Outcome, Plan, events
from keptn_remedy.events import ActionTriggered, Replies, Report
from keptn_remedy.journal import Effect, Ending, Execution, History, Unsent
from keptn_remedy.journal.claims import Claims
from keptn_remedy.journal.foreseen import NOTHING_FORESEEN, Foreseen
from keptn_remedy.support.clock import Clock
from keptn_remedy.testing import triggered
from tests.core.places import AnyJournal

T = TypeVar("T")

REPLIES = Replies("keptn-remedy")
DONE = Outcome.passed("done", flag="off")
FAILED = Outcome.failed("no better")
PLAN = Plan((Change("flag", "enabled", True, False),), ("already off",), {"strategies": ["1"]})


class SetClock(Clock):
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.time = 1_000_000.0

    def now(self) -> float:
        return self.time


def trigger(
    event_id: str = "1", service: str = "carts", context: str | None = None
) -> ActionTriggered:
    event = triggered("wait", id=event_id, service=service)
    if context:
        event["shkeptncontext"] = context
    return events.stored_trigger(orjson.dumps(event))


async def accepted(
    journal: AnyJournal,
    event_id: str = "1",
    service: str = "carts",
    context: str | None = None,
) -> Execution:
    execution = await journal.accept(trigger(event_id, service, context), "wait")
    assert execution
    return execution


def reports_of(execution: Execution, clock: Clock) -> tuple[Report, Report]:
    started = REPLIES.started(execution.trigger, clock.utc())
    finished = REPLIES.finished(
        execution.trigger, clock.utc(), status="succeeded", result="pass", message="", details={}
    )
    return started, finished


def effect(execution: Execution, target: str = "flag", **other: object) -> Effect:
    trigger = execution.trigger
    given = {
        "target": target,
        "action": execution.action,
        "project": trigger.project,
        "stage": trigger.stage,
        "service": trigger.service,
        "context": trigger.context,
        "planned": True,
    }
    return Effect(**(given | other))  # type: ignore[arg-type]  # a test knows what it gives


def allow(_: History) -> str | None:
    """What decides when nothing stands against it."""
    return None


async def admitted(
    journal: AnyJournal, event_id: str, *targets: str, context: str | None = None, **other: Any
) -> Execution:
    """An execution that was let act on these targets, at the clock's time."""
    execution = await accepted(journal, event_id, context=context or event_id)
    effects = [effect(execution, target, **other) for target in targets]
    assert await journal.admit(execution, PLAN, effects, allow) is None
    return execution


async def done(
    journal: AnyJournal, event_id: str, *targets: str, outcome: Outcome = DONE, **other: Any
) -> Execution:
    execution = await admitted(journal, event_id, *targets, **other)
    await journal.finish(execution, Ending(outcome, is_failure=outcome.is_failure), attempts=1)
    return execution


def nothing_for(look: str) -> dict[str, None] | tuple[None, ...]:
    """What may be bound to see how SQLite plans a look."""
    return dict.fromkeys(re.findall(r"(?<=:)\w+", look)) or (None,) * look.count("?")


async def due_reports(journal: AnyJournal) -> list[Unsent]:
    """The reports that the next process could claim now."""
    journal._in_hand = Claims()
    found = await journal.claim_reports(9)
    journal._in_hand = Claims()
    return list(found.items)


async def asked(
    journal: AnyJournal,
    question: Callable[[History], T],
    foreseen: Foreseen = NOTHING_FORESEEN,
) -> T:
    """What a new execution learns of the past, before it is turned away."""
    number = len(await journal.records(limit=10_000))
    execution = await accepted(journal, f"asks {number}", f"asks {number}")
    answer = await journal.admit(execution, None, [], lambda past: [question(past)], foreseen)
    assert answer
    return answer[0]


def damage(path: Path, index: str) -> None:
    """Overwrite the root page of an index."""
    with closing(sqlite3.connect(path)) as connection:
        page = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = ?", (index,)
        ).fetchone()[0]
        size = connection.execute("PRAGMA page_size").fetchone()[0]
    descriptor = os.open(path, os.O_WRONLY)
    os.pwrite(descriptor, b"\xff" * size, (page - 1) * size)
    os.close(descriptor)
