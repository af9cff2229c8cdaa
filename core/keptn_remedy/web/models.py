"""What the ops port's API tells, as pydantic models: the source of `/openapi.json`."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Any, Literal

import orjson
from pydantic import BaseModel, Field

from keptn_remedy.journal import Record, WholeRecord
from keptn_remedy.registry import Entry


class Report(BaseModel):
    """A report that Keptn has not acknowledged."""

    kind: str
    state: Literal["unsent", "parked"]
    attempts: int
    due_at: datetime
    reason: str | None


class Change(BaseModel):
    """One planned change, both sides absolute."""

    target: str
    field: str
    before: Any
    after: Any


class Execution(BaseModel):
    """One execution, in short."""

    id: str = Field(description="The trigger's event id.")
    state: Literal["accepted", "started", "finished"]
    action: str
    keptn_context: str
    project: str
    stage: str
    service: str
    accepted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    reported_at: datetime | None = Field(description="When Keptn had the outcome.")
    attempts: int
    status: Literal["succeeded", "errored"] | None
    result: Literal["pass", "warning", "fail"] | None
    message: str | None

    @classmethod
    def of(cls, record: Record) -> Execution:
        return cls.model_validate(_fields(record))


class ExecutionDetail(Execution):
    """One execution, whole."""

    details: dict[str, Any]
    plan: list[Change] | None
    notes: list[str]
    undelivered: list[Report]
    trigger: dict[str, Any] = Field(description="The event as it came in.")

    @classmethod
    def of(cls, record: WholeRecord) -> ExecutionDetail:  # type: ignore[override]  # needs more
        plan = record.plan
        return cls.model_validate(
            {
                **_fields(record),
                "plan": [_attributes(change) for change in plan.changes] if plan else None,
                "notes": plan.notes if plan else [],
                "undelivered": [_attributes(report) for report in record.undelivered],
                "trigger": orjson.loads(record.event),
            }
        )


class Executions(BaseModel):
    """A page of executions, newest first."""

    executions: list[Execution]
    next: int | None = Field(description="Pass it as `before` for the next page.")


class ActionInfo(BaseModel):
    """An action that exists, on or off."""

    name: str
    aliases: list[str]
    kind: Literal["plain", "planned"]
    on: bool
    off_because: str | None
    origin: str
    description: str
    value_schema: dict[str, Any]

    @classmethod
    def of(cls, entry: Entry, *, planned: bool) -> ActionInfo:
        return cls(
            name=entry.name,
            aliases=list(entry.cls.aliases),
            kind="planned" if planned else "plain",
            on=entry.action is not None,
            off_because=entry.off,
            origin=entry.origin,
            description=(entry.cls.__doc__ or "").strip(),
            value_schema=entry.value.json_schema(),
        )


class Actions(BaseModel):
    """All actions."""

    actions: list[ActionInfo]


class Health(BaseModel):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether it has started, isn't leaving and can store events; nothing is said of Keptn.

    `degraded` tells what someone should look at.
    """

    ready: bool
    reasons: list[str]
    degraded: list[str]


class Problem(BaseModel):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int


def _attributes(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _fields(record: Record) -> dict[str, Any]:
    found = _attributes(record)
    found["keptn_context"] = found.pop("context")
    return found
