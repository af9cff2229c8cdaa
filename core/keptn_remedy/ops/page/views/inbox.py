"""The screen Inbox: what waits for a person, the oldest first, with its plan and the time left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keptn_remedy.events import ActionTriggered
from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.journal import Execution, Question
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
