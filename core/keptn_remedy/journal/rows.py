"""Rows of the SQLite journal as the values that the service works with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import orjson

from keptn_remedy.action import Outcome, Plan
from keptn_remedy.events import Report, stored_trigger
from keptn_remedy.journal import Execution, Record, Undelivered, Unsent, WholeRecord

RECORD = tuple(field.name for field in fields(Record))
"""The columns of a record, in short."""


def execution(row: Sequence[Any]) -> Execution:
    """An open execution. One whose plan can't be read says so, and stops none of the others."""
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
    seq, kind, execution_id, event, attempts, doubtful, created_at = row
    return Unsent(seq, Report(kind, execution_id, event), attempts, bool(doubtful), created_at)


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
