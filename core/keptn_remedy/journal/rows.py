"""Rows of the SQLite journal as the values that the service works with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from datetime import UTC, datetime
from sys import intern
from typing import Any, TypeVar

import orjson

from keptn_remedy.action import Outcome, Plan
from keptn_remedy.events import NotACloudEvent, Report, Unusable, stored_trigger
from keptn_remedy.journal.failed_attempts import FailedAttempt
from keptn_remedy.journal.values import (
    ClosedTask,
    DueUndo,
    Execution,
    Last,
    OpenReport,
    OpenTask,
    OwedReport,
    Pause,
    Question,
    Record,
    Undo,
    Unsent,
    WholeRecord,
)
from keptn_remedy.support import logs

T = TypeVar("T")

EXECUTION = (
    "seq",
    "event",
    "action",
    "accepted_at",
    "runs",
    "plan",
    "failure",
    "question",
    "aborted",
)
"""The columns of an open execution."""
RECORD = tuple(field.name for field in fields(Record))
"""A record, in short; its cursor is the `seq`, and the last one is looked up in another table."""
LAST = ("execution", "action", "admitted_at", "ended_at", "settled_at")
"""The columns of the newest effect on a target; the first is its handle."""
UNDO = ("state", "on_closed", "due_at", "cause", "who", "reason", "asked_at", "ended_at", "message")
"""The columns of an undo."""


Find = Callable[[str], bytes]
"""Reads the event of an execution."""


def executions(
    rows: Iterable[Sequence[Any]], find: Find | None = None, *, is_claimed: bool = False
) -> list[Execution]:
    """Open executions. One that can't be read at all stays open, and stops none of the others. With
    `find`, which reads their events, these are not kept.
    """
    found: list[Execution] = []
    for row in rows:
        try:
            execution = _execution(row, is_claimed=is_claimed)
            if find:
                execution.trigger.put_away(find)
            found.append(execution)
        except (NotACloudEvent, Unusable) as error:
            logs.logger().error("an execution can't be read", seq=row[0], reason=str(error))
    return found


def claimable(rows: Iterable[Sequence[Any]], find: Find) -> list[tuple[str, int, Execution | None]]:
    """Open executions to be claimed, with lane and handle; None for one that can't be read."""
    found: list[tuple[str, int, Execution | None]] = []
    for lane, *row in rows:
        readable = executions([row], find, is_claimed=True)
        found.append((lane, row[0], readable[0] if readable else None))
    return found


def _execution(row: Sequence[Any], *, is_claimed: bool) -> Execution:
    seq, event, action, accepted_at, runs, plan, failure, asked, aborted = row
    trigger = stored_trigger(event)
    try:
        return Execution(
            seq,
            trigger,
            intern(action),
            runs,
            Plan.from_json(plan) if plan else None,
            Outcome(**orjson.loads(failure)) if failure else None,
            question=_question(asked) if asked else None,
            aborted=aborted,
            accepted_at=accepted_at,
            is_claimed=is_claimed,
        )
    except (KeyError, TypeError, ValueError) as error:
        broken = Execution(seq, trigger, action, runs, unreadable=repr(error), aborted=aborted)
        return replace(broken, accepted_at=accepted_at, is_claimed=is_claimed)


def plan_of(text: bytes | None) -> Plan | None:
    """A plan; None where there is none, or it can't be read."""
    return _readable(Plan.from_json, text)


def question_of(text: bytes | None) -> Question | None:
    """A question; None where there is none, or it can't be read."""
    return _readable(_question, text)


def _question(text: bytes) -> Question:
    raw = orjson.loads(text)
    plan = raw.pop("plan")
    return Question(Plan.from_json(orjson.dumps(plan)) if plan else None, **raw)


def open_task(row: Sequence[Any]) -> OpenTask:
    """An open execution in short."""
    _, execution_id, project, stage, context, state, listed, aborted, action = row
    return OpenTask(execution_id, project, stage, context, state, bool(listed), aborted, action)


def closed_tasks(rows: Iterable[Sequence[Any]]) -> list[ClosedTask]:
    """Executions that were closed as aborted; those that can't be read are left out."""
    found: list[ClosedTask] = []
    for event, action, message, started_at in rows:
        with suppress(NotACloudEvent, Unusable):
            trigger = stored_trigger(event)
            found.append(ClosedTask(trigger, action, message or "", started_at is not None))
    return found


def pause(row: Sequence[Any]) -> Pause:
    """The stop of everything that acts."""
    by, reason, since = row
    return Pause(by, reason, _known(since))


def last(row: Sequence[Any]) -> Last:
    """The newest effect on a target."""
    return Last(*row[: len(LAST)])


def undo(row: Sequence[Any]) -> Undo:
    """The undo of a finished execution."""
    return Undo(**_undo(row))


def due_undos(rows: Iterable[Sequence[Any]]) -> list[DueUndo]:
    """Undos with their executions; one that can't be read stays, and stops none of the others."""
    return [
        DueUndo(**_undo(row), execution=execution)
        for row in rows
        for execution in executions([row[len(UNDO) :]])
    ]


def unsent(row: Sequence[Any]) -> Unsent:
    """A report of the outbox, claimed."""
    seq, kind, execution_id, event, attempts, doubtful, created_at, action = row
    report = Report(kind, execution_id, event)
    return Unsent(seq, report, attempts, bool(doubtful), created_at, action, is_claimed=True)


def owed_report(row: Sequence[Any]) -> OwedReport:
    """A report that Keptn has not acknowledged."""
    seq, execution, kind, state, attempts, due_at, reason, created_at, is_blocked = row
    return OwedReport(
        kind,
        state,
        attempts,
        _known(due_at),
        reason,
        handle=seq,
        execution=execution,
        created_at=_known(created_at),
        is_blocked=bool(is_blocked),
    )


def record(row: Sequence[Any]) -> Record:
    """An execution in short."""
    return Record(**_short(row))


def whole_record(
    row: Sequence[Any],
    undelivered: Sequence[Sequence[Any]],
    undone: Sequence[Any] | None,
    failed: Sequence[Sequence[Any]],
) -> WholeRecord:
    """An execution, whole, with the reports not yet delivered, its undo, and failed attempts."""
    details, plan, event, asked, aborted = row[len(RECORD) :]
    return WholeRecord(
        **_short(row),
        details=orjson.loads(details) if details else {},
        plan=plan_of(plan),
        undelivered=tuple(
            OpenReport(k, s, a, _known(due_at), r) for k, s, a, due_at, r in undelivered
        ),
        event=event,
        question=question_of(asked),
        aborted=aborted,
        undo=undo(undone) if undone else None,
        failed_attempts=tuple(FailedAttempt(_known(at), *said) for at, *said in failed),
    )


def _short(row: Sequence[Any]) -> dict[str, Any]:
    found = dict(zip(RECORD, row, strict=False))
    return {n: _moment(v) if n.endswith("_at") else v for n, v in found.items()}


def _undo(row: Sequence[Any]) -> dict[str, Any]:
    found = dict(zip(UNDO, row, strict=False))
    moments = {name: _moment(found[name]) for name in UNDO if name.endswith("_at")}
    by, on_closed = found.pop("who"), bool(found["on_closed"])
    return {**found, **moments, "by": by, "on_closed": on_closed}


def _readable(read: Callable[[bytes], T], text: bytes | None) -> T | None:
    try:
        return read(text) if text else None
    except (KeyError, TypeError, ValueError):
        return None


def _moment(seconds: float | None) -> Any:
    return None if seconds is None else _known(seconds)


def _known(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
