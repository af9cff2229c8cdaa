"""The JSON of the ops port, checked, as the values that commands show. Each function raises
ValueError for what this release can't read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

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
from keptn_remedy.ops import models, open_models

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
Json = Mapping[str, Any]


def executions(found: Json) -> list[models.Execution]:
    """A page of executions."""
    return checked(models.Executions, found).executions


def record(found: models.Execution) -> Record:
    """An execution in short."""
    return _of(Record, found, context=found.keptn_context)


def whole_record(found: Json) -> WholeRecord:
    """An execution, whole."""
    # An older service tells no failed attempts.
    whole = checked(models.ExecutionDetail, {"failed_attempts": [], **found})
    undo, question = whole.undo, whole.question
    return _of(
        WholeRecord,
        whole,
        context=whole.keptn_context,
        undone=undo.state if undo else None,
        event=orjson.dumps(whole.trigger),
        plan=_plan(whole.plan, whole.notes),
        question=_question(question) if question else None,
        undo=_of(Undo, undo) if undo else None,
        undelivered=tuple(_of(OpenReport, report) for report in whole.undelivered),
        failed_attempts=tuple(_of(FailedAttempt, each) for each in whole.failed_attempts),
    )


def owed_reports(found: Json) -> list[OwedReport]:
    """Reports that Keptn has not acknowledged."""
    return [_of(OwedReport, report) for report in checked(open_models.Reports, found).reports]


def ids(found: Json) -> list[str]:
    """Ids of executions."""
    return checked(open_models.Ids, found).ids


def handles(found: Json) -> list[int]:
    """Reports that are sent again."""
    return checked(open_models.Resent, found).handles


def targets(found: Json) -> int:
    """How many targets are not suspended any more."""
    return checked(open_models.Resumed, found).targets


def pause(found: Json) -> Pause | None:
    """What stops everything; None if nothing does."""
    said = checked(models.Pause, found)
    return _of(Pause, said) if said.paused else None


def waiting(found: Json) -> Waiting:
    """What open executions wait for."""
    said = checked(open_models.Waiting, found)
    return Waiting(
        {each.id: (each.until.timestamp(), each.default) for each in said.asking},
        {(each.project, each.stage, each.service): each.id for each in said.first},
    )


def checked(model: type[M], found: Any) -> M:
    """An answer with all that it must have. What newer services add is left out.

    Raises:
        ValueError: something is missing, or of another kind; the text names the first.
    """
    try:
        return model.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"{where}: {first['msg']}" if where else first["msg"]) from None


def _of(kind: type[T], found: BaseModel, **others: Any) -> T:
    names = (field.name for field in fields(kind))  # type: ignore[arg-type]  # all are dataclasses
    return kind(
        **{name: others[name] if name in others else getattr(found, name) for name in names}
    )


def _plan(changes: list[models.Change] | None, notes: list[str]) -> Plan | None:
    if changes is None:
        return None
    return Plan(tuple(_of(Change, change) for change in changes), tuple(notes))


def _question(found: models.Question) -> Question:
    return Question(
        _plan(found.plan, []),
        found.rule,
        _moment(found.asked_at),
        _moment(found.expires_at),
        found.default,
        found.verdict,
        found.by,
        found.reason,
        found.heeded,
    )


def _moment(at: datetime) -> float:
    return at.timestamp()
