"""The screen Inbox: what waits for a person, the oldest first, with its plan and the time left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keptn_remedy.events import ActionTriggered
from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.journal import Execution, Question, WholeRecord
from keptn_remedy.ops.asked_undos import AskedUndo
from keptn_remedy.ops.digests import digest
from keptn_remedy.ops.page.views.shown import Diff, diffs, moment
from keptn_remedy.support.page_paths import path_of

_SHOWN_OF_DIGEST = 12


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """A question as it is put to a person. `digest` is of the very plan that is shown."""

    id: str
    address: str
    action: str
    scope: str
    problem: str
    rule: str
    asked_at: datetime
    expires_at: datetime
    default: str
    diffs: Sequence[Diff]
    notes: Sequence[str]
    digest: str

    @property
    def short_digest(self) -> str:
        return self.digest[:_SHOWN_OF_DIGEST]


@dataclass(frozen=True, slots=True)
class OpenUndo:
    """An undo that an agent asks for, as it is put to a person. `stamp` tells this asking from the
    next one.
    """

    id: str
    address: str
    action: str
    scope: str
    reason: str
    asked_at: datetime
    stamp: str
    diffs: Sequence[Diff]


def open_undo(ask: AskedUndo, record: WholeRecord) -> OpenUndo:
    """An undo that waits for a person."""
    return OpenUndo(
        id=record.id,
        address=path_of(record.id),
        action=record.action,
        scope=f"{record.project} / {record.stage} / {record.service}",
        reason=ask.reason,
        asked_at=moment(ask.at),
        stamp=repr(ask.at),
        diffs=diffs(record.plan.reversed) if record.plan else (),
    )


def asked(trigger: ActionTriggered, action: str, question: Question) -> OpenQuestion:
    """A question that waits for its answer."""
    return OpenQuestion(
        id=trigger.id,
        address=path_of(trigger.id),
        action=action,
        scope=f"{trigger.project} / {trigger.stage} / {trigger.service}",
        problem=problem_of(trigger.data),
        rule=question.rule,
        asked_at=moment(question.asked_at),
        expires_at=moment(question.expires_at),
        default=question.default,
        diffs=diffs(question.plan),
        notes=question.plan.notes if question.plan else (),
        digest=digest(question.plan),
    )


def inbox(executions: Sequence[Execution]) -> list[OpenQuestion]:
    """The questions of these executions."""
    return [asked(it.trigger, it.action, it.question) for it in executions if it.question]


def problem_of(data: Any) -> str:
    """The title of the problem that an event tells of; empty if it tells none."""
    problem = data.get("problem") if is_object(data) else None
    if not is_object(problem):
        return ""
    for name in ("problemTitle", "ProblemTitle", "title"):
        if isinstance(found := problem.get(name), str):
            return found
    return ""
