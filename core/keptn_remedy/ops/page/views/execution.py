"""The screen of one execution: its time line, its plan, why it did not act."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson

from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.guardrails.units import counted
from keptn_remedy.journal import WholeRecord
from keptn_remedy.ops.digests import digest
from keptn_remedy.ops.origins import Origin, origin
from keptn_remedy.ops.page.links import Link
from keptn_remedy.ops.page.views.inbox import OpenQuestion, problem_of
from keptn_remedy.ops.page.views.shown import (
    Badge,
    Diff,
    badge,
    diffs,
    lasted,
    moment,
    scope,
    took,
)
from keptn_remedy.ops.page.views.why_not import WhyNot, why_not
from keptn_remedy.support.page_paths import path_of

WAITED_SECONDS = 1.0
"""A shorter wait is none."""


@dataclass(frozen=True, slots=True)
class Milestone:
    """A step of the time line. `tone` is as in `Badge`; `lines` say more."""

    at: datetime | None
    title: str
    tone: str = "off"
    lines: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class UndoView:
    """How the undo stands, and whether one can be ordered."""

    can_be_ordered: bool
    is_under_way: bool
    diffs: Sequence[Diff]
    unsuccessful: str = ""
    """`refused` or `failed`, and why; empty for any other."""


@dataclass(frozen=True, slots=True)
class ExecutionView:
    """One execution, whole."""

    id: str
    address: str
    badge: Badge
    action: str
    scope: str
    problem: str
    context: str
    context_is: str
    took: str
    message: str
    why_not: WhyNot | None
    question: OpenQuestion | None
    steps: Sequence[Milestone]
    diffs: Sequence[Diff]
    notes: Sequence[str]
    was_applied: bool
    undo: UndoView
    links: Sequence[Link]
    event: str
    details: str


def execution_view(
    record: WholeRecord,
    links: Sequence[Link],
    rails: Sequence[str] = (),
    moments: Sequence[Milestone] = (),
) -> ExecutionView:
    """What the screen shows. `rails` says what each rail found; `moments` are further steps."""
    event = _event(record)
    came = origin(event)
    question = _asked(record, event)
    plan = record.plan or (record.question.plan if record.question else None)
    return ExecutionView(
        id=record.id,
        address=path_of(record.id),
        badge=badge(record, is_asking=question is not None),
        action=record.action,
        scope=scope(record),
        problem=problem_of(event.get("data")),
        context=record.context,
        context_is=came.context,
        took=took(record),
        message=record.message or "",
        why_not=why_not(record, came.peer),
        question=question,
        steps=sorted_steps([*_steps(record, came, rails), *moments]),
        diffs=diffs(plan),
        notes=plan.notes if plan else (),
        was_applied=record.plan is not None,
        undo=_undo_view(record),
        links=links,
        event=_pretty(event),
        details=_pretty(dict(record.details)) if record.details else "",
    )


def sorted_steps(steps: Sequence[Milestone]) -> list[Milestone]:
    """In the order of time; those without a time stay where they are."""
    latest, keyed = 0.0, list[tuple[float, int, Milestone]]()
    for place, step in enumerate(steps):
        at = step.at.timestamp() if step.at else latest
        latest = max(latest, at)
        keyed.append((at, place, step))
    return [step for _, _, step in sorted(keyed, key=lambda each: each[:2])]


def _event(record: WholeRecord) -> dict[str, Any]:
    try:
        found = orjson.loads(record.event)
    except orjson.JSONDecodeError:
        return {}
    return found if is_object(found) else {}


def _asked(record: WholeRecord, event: dict[str, Any]) -> OpenQuestion | None:
    question = record.question
    if record.state == "finished" or question is None or question.verdict:
        return None
    return OpenQuestion(
        id=record.id,
        address=path_of(record.id),
        action=record.action,
        scope=scope(record),
        problem=problem_of(event.get("data")),
        rule=question.rule,
        asked_at=moment(question.asked_at),
        expires_at=moment(question.expires_at),
        default=question.default,
        diffs=diffs(question.plan),
        notes=question.plan.notes if question.plan else (),
        digest=digest(question.plan),
    )


def _steps(record: WholeRecord, came: Origin, rails: Sequence[str]) -> Iterator[Milestone]:
    source = f"from the source {came.source}" if came.source else ""
    yield Milestone(record.accepted_at, came.received, "good", _lines(source))
    yield from _begun(record, came)
    yield from question_steps(record)
    if rails:
        yield Milestone(None, "Guard-rails asked, as the rules are now", "good", rails)
    if record.plan:
        what = counted(len(record.plan.changes), "change")
        yield Milestone(
            None, f"Plan stored: {what}", "good", [str(it) for it in record.plan.changes]
        )
    yield from _ended(record, came)
    yield from undo_steps(record)


def _begun(record: WholeRecord, came: Origin) -> Iterator[Milestone]:
    if record.started_at is None:
        if record.state == "accepted":
            yield Milestone(None, "Waits for its turn", "wait", [_LANE])
        return
    waited = (record.started_at - record.accepted_at).total_seconds()
    if waited >= WAITED_SECONDS:
        yield Milestone(record.started_at, f"Waited {lasted(waited)} for its turn", "wait", [_LANE])
    states = {report.kind: report.state for report in record.undelivered}
    told = _STARTED[states.get("started")]
    yield Milestone(record.started_at, "Begun", "good", [told] if came.peer else [])


_STARTED: Mapping[str | None, str] = {
    None: "started is acknowledged",
    "unsent": "started is not acknowledged yet",
    "parked": "started was refused",
}
_LANE = "Executions of one project, stage and service run one after the other."


def question_steps(record: WholeRecord) -> Iterator[Milestone]:
    """Who was asked, and what came of it."""
    question, details = record.question, record.details
    if question:
        until = f"{moment(question.expires_at):%H:%M:%S} UTC"
        line = f"by rule {question.rule}; without an answer until {until} it is {question.default}d"
        yield Milestone(
            moment(question.asked_at),
            "Asked a person",
            "wait",
            [line.replace("denyd", "denied")],
        )
    by, because = details.get("approved_by"), details.get("approved_because")
    if question and question.verdict:
        tone = "good" if question.verdict == "approved" else "bad"
        who = f"by {question.by}" if question.by else "by silence"
        yield Milestone(
            None, f"{question.verdict.capitalize()} {who}", tone, _lines(question.reason)
        )
    elif isinstance(by, str):
        yield Milestone(None, f"Approved by {by}", "good", _lines(because))


def _ended(record: WholeRecord, came: Origin) -> Iterator[Milestone]:
    for failed in record.failed_attempts:
        of_phase = f" ({failed.phase})" if failed.phase != "run" else ""
        said = f"Attempt {failed.number} failed{of_phase}"
        yield Milestone(failed.failed_at, said, "warn", [failed.cause])
    if record.attempts:
        tone = "good" if record.attempts == 1 else "warn"
        yield Milestone(None, f"{counted(record.attempts, 'attempt')}", tone)
    if record.state != "finished":
        if record.aborted:
            yield Milestone(None, "Nobody waits for it any more", "warn", [record.aborted, _ABORTS])
        yield from _parked(record)
        return
    shown = badge(record)
    said = f"Ended: {record.status} / {record.result}"
    yield Milestone(record.finished_at, said, shown.tone, _lines(record.message))
    yield from _parked(record)
    for report in record.undelivered:
        if report.state != "parked":
            words = f"{report.kind} is {report.state} after {counted(report.attempts, 'attempt')}"
            yield Milestone(None, words, "wait", _lines(report.reason))
    if record.reported_at and came.peer:
        yield Milestone(record.reported_at, "The outcome is acknowledged", "good")


_ABORTS = (
    "It is being ended: nothing new begins, and what has begun is cut off or comes to its end."
)


def _parked(record: WholeRecord) -> Iterator[Milestone]:
    """What is sent no more unless somebody says so; the last step says how."""
    parked = [report for report in record.undelivered if report.state == "parked"]
    for report in parked:
        words = f"{report.kind} is parked after {counted(report.attempts, 'attempt')}"
        again = f"Not sent again by itself: remedy reports resend {record.id}"
        lines = _lines(report.reason, again if report is parked[-1] else "")
        yield Milestone(None, words, "bad", lines)


def undo_steps(record: WholeRecord) -> Iterator[Milestone]:
    """How its undo came, and how that ended."""
    undo = record.undo
    if undo is None:
        return
    if undo.state == "armed":
        when = (
            "when the problem closes"
            if undo.on_closed
            else f"at {undo.due_at:%Y-%m-%d %H:%M:%S} UTC"
        )
        yield Milestone(None, f"Will be undone {when}", "wait")
        return
    by = f" by {undo.by}" if undo.by else ""
    yield Milestone(
        undo.asked_at, f"Undo: {undo.cause or 'wanted'}{by}", "busy", _lines(undo.reason)
    )
    if undo.ended_at:
        tone = "good" if undo.state == "done" else "bad"
        yield Milestone(undo.ended_at, f"Undo {undo.state}", tone, _lines(undo.message))


def _undo_view(record: WholeRecord) -> UndoView:
    plan, undo = record.plan, record.undo
    could = record.state == "finished" and plan is not None and bool(plan.changes)
    state = undo.state if undo else None
    return UndoView(
        can_be_ordered=could and state in (None, "armed", "refused", "failed"),
        is_under_way=state in ("wanted", "running"),
        diffs=diffs(plan.reversed) if plan else (),
        unsuccessful=f"{state}: {undo.message}" if undo and state in ("refused", "failed") else "",
    )


def _lines(*texts: object) -> list[str]:
    return [str(text) for text in texts if text]


def _pretty(given: Any) -> str:
    return orjson.dumps(given, option=orjson.OPT_INDENT_2).decode()
