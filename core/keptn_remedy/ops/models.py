"""The API's JSON as pydantic models, from which `/openapi.json` is made."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any, Literal

import orjson
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from keptn_remedy import journal
from keptn_remedy.action import Plan
from keptn_remedy.events import task_of
from keptn_remedy.journal import Record, WholeRecord
from keptn_remedy.registry import Broken, Entry

MAX_REASON_CHARACTERS = 1000


def one_line(text: str) -> str:
    """The text in one line without control characters, so that it can't forge a log line."""
    plain = (" " if c.isspace() else c if c.isprintable() else "\ufffd" for c in text)
    return "".join(plain).strip()


def _not_empty(reason: str) -> str:
    if not reason:
        raise ValueError("must not be empty")
    return reason


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
    reported_at: datetime | None = Field(description="When Keptn acknowledged the outcome.")
    attempts: int
    status: Literal["succeeded", "errored", "aborted"] | None
    result: Literal["pass", "warning", "fail"] | None
    message: str | None
    waiting: Literal["approval"] | None = None
    undone: journal.UndoState | None = Field(default=None, description="How its undo stands.")
    task: str | None = Field(
        default=None, description="Keptn's task; for a subscriber the type of the event."
    )
    cursor: int = Field(description="Its place: `before` and `after` take it.")

    @classmethod
    def of(cls, record: Record, *, asks: bool = False, event_type: str | None = None) -> Execution:
        known = {"waiting": "approval" if asks else None, "task": _task(event_type)}
        return cls.model_validate({**_fields(record), **known})


class Question(BaseModel):
    """What an execution asks an operator before it acts."""

    rule: str = Field(description="The policy rule that requires approval.")
    plan: list[Change] | None
    asked_at: datetime
    expires_at: datetime
    default: Literal["deny", "approve"] = Field(description="The verdict once it has expired.")
    verdict: Literal["approved", "denied"] | None
    by: str | None = Field(description="Null if it expired.")
    reason: str | None
    heeded: bool = Field(description="Whether the execution went on after the verdict.")

    @classmethod
    def of(cls, question: journal.Question) -> Question:
        return cls.model_validate({**_attributes(question), "plan": _changes(question.plan)})


class Undo(BaseModel):
    """The undo of a finished execution."""

    plan: list[Change] = Field(description="The changes that the undo makes.")
    state: Literal["armed", "wanted", "running", "done", "refused", "failed"]
    on_closed: bool = Field(description="While armed: undone when the problem closes.")
    due_at: datetime | None = Field(description="While armed: when it is undone.")
    cause: str | None
    by: str | None
    reason: str | None
    asked_at: datetime | None
    ended_at: datetime | None
    message: str | None


class FailedAttempt(BaseModel):
    """An attempt that failed and was made again."""

    failed_at: datetime
    phase: str = Field(description="The method of the action, such as `apply`.")
    number: int
    cause: str


class ExecutionDetail(Execution):
    """One execution with everything that is known of it."""

    details: dict[str, Any]
    plan: list[Change] | None
    notes: list[str]
    question: Question | None
    undo: Undo | None
    aborted: str | None = Field(description="Why Keptn no longer waits for it.")
    undelivered: list[Report]
    failed_attempts: list[FailedAttempt] = Field(description="The newest 20.")
    trigger: dict[str, Any] = Field(description="The event as it came in.")

    @classmethod
    def of(cls, record: WholeRecord) -> ExecutionDetail:  # type: ignore[override]  # needs more
        question, undo = record.question, record.undo
        trigger = orjson.loads(record.event)
        return cls.model_validate(
            {
                **_fields(record),
                "waiting": "approval" if _asks(record) else None,
                "task": _task(trigger.get("type")),
                "plan": _changes(record.plan),
                "notes": record.plan.notes if record.plan else [],
                "question": Question.of(question) if question else None,
                "undo": {**_attributes(undo), "plan": _undoing(record)} if undo else None,
                "undelivered": [_attributes(report) for report in record.undelivered],
                "failed_attempts": [_attributes(each) for each in record.failed_attempts],
                "trigger": trigger,
            }
        )


class Executions(BaseModel):
    """A page of executions."""

    executions: list[Execution]
    next: int | None = Field(
        description="Pass it as `before`, or to the feed as `after`, for the next page."
    )


class ActionInfo(BaseModel):
    """An installed action, on or off, or what can't be used."""

    name: str
    aliases: list[str]
    kind: Literal["plain", "planned"] | None = Field(description="Null for what can't be used.")
    task: str | None = Field(
        description="The task of Keptn that it carries out. Null if it only receives events."
    )
    subscriptions: list[str] = Field(description="The types of events that it receives.")
    on: bool
    off_because: str | None
    origin: str
    description: str
    value_schema: dict[str, Any]

    @classmethod
    def of(cls, entry: Entry, *, planned: bool) -> ActionInfo:
        return cls(
            name=entry.name,
            aliases=list(entry.aliases),
            kind="planned" if planned else "plain",
            task=None if entry.cls.subscriptions else entry.cls.task,
            subscriptions=list(entry.cls.subscriptions),
            on=entry.action is not None,
            off_because=entry.off,
            origin=entry.origin,
            description=(entry.cls.__doc__ or "").strip(),
            value_schema=entry.schema(),
        )

    @classmethod
    def of_broken(cls, broken: Broken) -> ActionInfo:
        """A file, an entry point or a class that can't be used."""
        return cls(
            name=broken.name,
            aliases=[],
            kind=None,
            task=None,
            subscriptions=[],
            on=False,
            off_because=broken.why,
            origin=broken.origin,
            description="",
            value_schema={},
        )


class Actions(BaseModel):
    """All actions."""

    actions: list[ActionInfo]


class Pause(BaseModel):
    """Whether actions are paused, by whom and why."""

    paused: bool
    by: str | None = None
    reason: str | None = None
    since: datetime | None = None

    @classmethod
    def of(cls, pause: journal.Pause | None) -> Pause:
        return cls(paused=True, **_attributes(pause)) if pause else cls(paused=False)


class AnyOrder(BaseModel):
    """What every order holds."""

    model_config = ConfigDict(extra="forbid")

    reason: str


class Order(AnyOrder):
    """An operator's order. Everyone who can read the API sees the reason."""

    reason: Annotated[str, Field(max_length=MAX_REASON_CHARACTERS), AfterValidator(one_line)] = ""


class AnswerOrder(Order):
    """A verdict. With `asked_at` it applies only to the question that was asked at that time, since
    the next one may be about another plan.
    """

    asked_at: AwareDatetime | None = None


class ResendOrder(Order):
    """An order to send parked reports again: those of one execution, or all."""

    execution: Annotated[str, Field(min_length=1)] | None = None


class TargetsOrder(Order):
    """An order to end the suspension of a target, or of all targets."""

    target: Annotated[str, Field(min_length=1)] | None = None


class PauseOrder(AnyOrder):
    """An operator's order to pause. Executions refused meanwhile give this reason."""

    reason: Annotated[
        str,
        Field(max_length=MAX_REASON_CHARACTERS, json_schema_extra={"pattern": r"\S"}),
        AfterValidator(one_line),
        AfterValidator(_not_empty),
    ]


class Health(BaseModel):
    """The process is alive."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the service has started, isn't leaving and can store events. Keptn's state doesn't
    matter. `degraded` lists what an operator should look at.
    """

    ready: bool
    reasons: list[str]
    degraded: list[str]


class ProblemDetails(BaseModel):
    """An error (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int


def _task(event_type: Any) -> str | None:
    if not isinstance(event_type, str):
        return None
    return task_of(event_type) or event_type


def _asks(record: WholeRecord) -> bool:
    """Whether it waits for an answer to its question."""
    return record.state != "finished" and bool(record.question and not record.question.verdict)


def _undoing(record: WholeRecord) -> list[dict[str, Any]]:
    return _changes(record.plan.reversed if record.plan else None) or []


def _changes(plan: Plan | None) -> list[dict[str, Any]] | None:
    return [_attributes(change) for change in plan.changes] if plan else None


def _attributes(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _fields(record: Record) -> dict[str, Any]:
    found = _attributes(record)
    found["keptn_context"] = found.pop("context")
    return found
