"""The JSON of the ops port as the values that commands show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

import orjson

from keptn_remedy.action import Change, Plan
from keptn_remedy.journal import (
    FailedAttempt,
    OpenReport,
    OwedReport,
    Pause,
    Question,
    Record,
    Undo,
    Waiting,
    WholeRecord,
)

T = TypeVar("T")
Json = Mapping[str, Any]


def record(found: Json) -> Record:
    """An execution in short."""
    return _of(Record, _renamed(found))


def whole_record(found: Json) -> WholeRecord:
    """An execution, whole."""
    undo = found["undo"]
    own = {
        **_renamed(found),
        "undone": undo["state"] if undo else None,
        "event": orjson.dumps(found["trigger"]),
        "plan": _plan(found["plan"], found["notes"]),
        "question": _question(found["question"]),
        "undo": _of(Undo, undo) if undo else None,
        "undelivered": tuple(_of(OpenReport, report) for report in found["undelivered"]),
        "failed_attempts": tuple(
            _of(FailedAttempt, each) for each in found.get("failed_attempts", ())
        ),
    }
    return _of(WholeRecord, own)


def owed_report(found: Json) -> OwedReport:
    """A report that Keptn has not acknowledged."""
    return _of(OwedReport, found)


def pause(found: Json) -> Pause | None:
    """What stops everything; None if nothing does."""
    return _of(Pause, found) if found["paused"] else None


def waiting(found: Json) -> Waiting:
    """What open executions wait for."""
    return Waiting(
        {each["id"]: (_moment(each["until"]), each["default"]) for each in found["asking"]},
        {(e["project"], e["stage"], e["service"]): e["id"] for e in found["first"]},
    )


def _of(kind: type[T], found: Json) -> T:
    """What newer services add is left out."""
    own = {field.name: found[field.name] for field in fields(kind)}  # type: ignore[arg-type]
    times = {n: _time(v) for n, v in own.items() if n.endswith("_at") or n == "since"}
    return kind(**own | times)


def _time(value: Any) -> Any:
    return datetime.fromisoformat(value) if isinstance(value, str) else value


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _renamed(found: Json) -> dict[str, Any]:
    return {**found, "context": found["keptn_context"]}


def _plan(changes: Any, notes: Any) -> Plan | None:
    if changes is None:
        return None
    return Plan(tuple(_of(Change, change) for change in changes), tuple(notes))


def _question(found: Json | None) -> Question | None:
    if found is None:
        return None
    return Question(
        _plan(found["plan"], ()),
        found["rule"],
        _moment(found["asked_at"]),
        _moment(found["expires_at"]),
        found["default"],
        found["verdict"],
        found["by"],
        found["reason"],
        found["heeded"],
    )
