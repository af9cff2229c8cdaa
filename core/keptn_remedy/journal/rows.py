"""Rows of the SQLite journal as the values that the service works with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import orjson

from keptn_remedy import logs
from keptn_remedy.action import Outcome, Plan
from keptn_remedy.events import NotACloudEvent, Report, Unusable, stored_trigger
from keptn_remedy.journal import Execution, Record, Undelivered, Unsent, WholeRecord

RECORD = tuple(field.name for field in fields(Record))
"""The columns of a record, in short."""


def executions(rows: Iterable[Sequence[Any]]) -> list[Execution]:
    """Open executions. One that can't be read at all stays open, and stops none of the others."""
    found: list[Execution] = []
    for row in rows:
        try:
            found.append(_execution(row))
        except (NotACloudEvent, Unusable) as error:
            logs.logger().error("an execution can't be read", seq=row[0], reason=str(error))
    return found


def _execution(row: Sequence[Any]) -> Execution:
    seq, event, action, runs, plan, failure = row
    trigger = stored_trigger(event)
    try:
        return Execution(
            seq,
            trigger,
            action,
            runs,
            Plan.from_json(plan) if plan else None,
            Outcome(**orjson.loads(failure)) if failure else None,
        )
    except (KeyError, TypeError, ValueError) as error:
        return Execution(seq, trigger, action, runs, unreadable=repr(error))


def unsent(row: Sequence[Any]) -> Unsent:
    """A report of the outbox."""
    seq, kind, execution_id, event, attempts, doubtful, created_at, action = row
    report = Report(kind, execution_id, event)
    return Unsent(seq, report, attempts, bool(doubtful), created_at, action)


def record(row: Sequence[Any]) -> Record:
    """An execution in short."""
    return Record(**_short(row))


def whole_record(row: Sequence[Any], undelivered: Sequence[Sequence[Any]]) -> WholeRecord:
    """An execution, whole, with the reports not yet delivered."""
    details, plan, event = row[len(RECORD) :]
    return WholeRecord(
        **_short(row),
        details=orjson.loads(details) if details else {},
        plan=_plan(plan),
        undelivered=tuple(
            Undelivered(k, s, a, _known(due_at), r) for k, s, a, due_at, r in undelivered
        ),
        event=event,
    )


def _short(row: Sequence[Any]) -> dict[str, Any]:
    found = dict(zip(RECORD, row, strict=False))
    return {n: _moment(v) if n.endswith("_at") else v for n, v in found.items()}


def _plan(text: bytes | None) -> Plan | None:
    try:
        return Plan.from_json(text) if text else None
    except (KeyError, TypeError, ValueError):
        return None


def _moment(seconds: float | None) -> Any:
    return None if seconds is None else _known(seconds)


def _known(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
