"""Words notifications: from an execution as the journal has it to what people read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from keptn_remedy.guardrails.values import NotifyKind
from keptn_remedy.journal import Notice, Pause, Question, WholeRecord
from keptn_remedy.notifications.notification import Notification, Severity
from keptn_remedy.support.page_paths import path_of

MAX_CHANGES = 10
_SEVERITIES: dict[str, Severity] = {
    "approval": "warning",
    "refused": "warning",
    "failed": "error",
    "suspended": "critical",
    "parked": "error",
}


def undo_asked(record: WholeRecord, reason: str, now: float, page_url: str | None) -> Notification:
    """That somebody asks people to undo an execution."""
    return Notification(
        key=f"undo asked {record.id}",
        kind="approval",
        severity="warning",
        title=f"An agent asks to undo {record.action}: {reason}",
        text="Nothing is undone unless somebody orders it.",
        facts=_facts(record),
        at=now,
        link=Composer(page_url).link(record.id),
        command=f"remedy undo {record.id}",
    )


class Composer:
    """Words what happened. `page_url` is where the ops port is reached; without it there are no
    links.
    """

    def __init__(self, page_url: str | None) -> None:
        self._page_url = page_url.rstrip("/") if page_url else None

    def composed(self, notice: Notice, record: WholeRecord) -> Notification | None:
        """What a notice means; None where there is nothing to tell any more."""
        word: Callable[[Notice, WholeRecord], Notification | None] = {
            "asked": self._approval,
            "ended": self._ended,
            "undone": self._undone,
            "parked": self._parked,
        }[notice.kind]
        found = word(notice, record)
        return found and replace(found, link=self.link(record.id), facts=_facts(record))

    def answered(self, first: Notification, record: WholeRecord | None) -> Notification | None:
        """What ends the notification of an approval; None while it still is needed."""
        question = record.question if record else None
        is_same = question is not None and first.key == approval_key(record, question)
        if is_same and question and not question.verdict:
            return None
        said = _verdict(question) if is_same and question else "Not needed any more"
        # All else stays: Alertmanager knows an alert by its labels.
        return replace(first, is_over=True, stands=False, title=_titled(said, first))

    def paused(self, pause: Pause) -> Notification:
        """That nothing acts."""
        since = pause.since.timestamp()
        how = None if pause.by.startswith("file ") else "remedy resume"
        return Notification(
            key=f"paused {pause.by} {since}",
            kind="paused",
            severity="warning",
            title=f"All actions are paused by {pause.by}: {pause.reason}",
            text="Every execution is refused until somebody resumes.",
            facts={"by": pause.by},
            at=since,
            stands=True,
            link=self._page_url,
            command=how,
        )

    def link(self, execution_id: str) -> str | None:
        """The page of an execution."""
        if self._page_url is None:
            return None
        return f"{self._page_url}{path_of(execution_id)}"

    def _approval(self, notice: Notice, record: WholeRecord) -> Notification | None:
        question = record.question
        if question is None or question.verdict or record.state == "finished":
            return None
        denied = "denied" if question.default == "deny" else "approved"
        lines = [*_changes(question), f"Rule: {question.rule}"]
        return Notification(
            key=approval_key(record, question),
            kind="approval",
            severity=_SEVERITIES["approval"],
            title=f"Approval needed: {_what(record)}",
            text="\n".join([*lines, f"Without an answer it is {denied}."]),
            at=notice.at,
            until=question.expires_at,
            stands=True,
            command=f"remedy approve {record.id}",
        )

    def _ended(self, notice: Notice, record: WholeRecord) -> Notification:
        rail, command = str(record.details.get("rail", "")), None
        kind: NotifyKind = "refused" if rail else "failed"
        key = f"failed {record.id}"
        if rail == "suspended":
            kind, command = "suspended", "remedy resume --suspended"
        if rail:
            # What is refused again for the same reason is told once in a while.
            rule = record.details.get("rule", "")
            key = f"{kind} {rail} {rule} {record.action} {_where(record)}"
        words = {"refused": "Refused", "suspended": "Suspended"}.get(kind, "Failed")
        return Notification(
            key=key,
            kind=kind,
            severity=_SEVERITIES[kind],
            title=f"{words}: {_what(record)}",
            text=record.message or "",
            at=notice.at,
            command=command,
        )

    def _undone(self, notice: Notice, record: WholeRecord) -> Notification | None:
        undo = record.undo
        if undo is None or undo.state not in ("done", "refused", "failed"):
            return None
        words = {"done": "Undone", "refused": "Undo refused", "failed": "Undo failed"}
        by = f" by {undo.by}" if undo.by else ""
        return Notification(
            key=notice.key,
            kind="undone",
            severity="info" if undo.state == "done" else "error",
            title=f"{words[undo.state]}: {_what(record)}",
            text=f"{undo.message or ''}\nBecause: {undo.cause or 'it was ordered'}{by}".strip(),
            at=notice.at,
        )

    def _parked(self, notice: Notice, record: WholeRecord) -> Notification | None:
        parked = [report for report in record.undelivered if report.state == "parked"]
        if not parked:
            return None
        first = parked[0]
        return Notification(
            key=notice.key,
            kind="parked",
            severity=_SEVERITIES["parked"],
            title=f"Keptn refused the {first.kind} of {_what(record)}",
            text=f"{first.reason or ''}\nIts sequence waits.".strip(),
            at=notice.at,
            command=f"remedy reports resend {record.id}",
        )


def approval_key(record: WholeRecord | None, question: Question) -> str:
    """The key of the notification about a question."""
    return f"approval {record.id if record else ''} {question.asked_at}"


def resumed(first: Notification, now: float) -> Notification:
    """What ends the notification of a pause."""
    title = f"Resumed: {first.title}"
    return replace(first, is_over=True, stands=False, title=title, at=now)


def _what(record: WholeRecord) -> str:
    return f"{record.action} for {_where(record)}"


def _where(record: WholeRecord) -> str:
    return f"{record.project}/{record.stage}/{record.service}"


def _facts(record: WholeRecord) -> dict[str, str]:
    return {
        "project": record.project,
        "stage": record.stage,
        "service": record.service,
        "action": record.action,
        "execution": record.id,
        "context": record.context,
        "rail": str(record.details.get("rail", "")),
        "rule": str(record.details.get("rule", "")),
    }


def _changes(question: Question) -> list[str]:
    changes = question.plan.changes if question.plan else ()
    lines = [f"{change.target} {change.field}: {change.step}" for change in changes[:MAX_CHANGES]]
    more = len(changes) - MAX_CHANGES
    return [*lines, f"and {more} more"] if more > 0 else lines


def _verdict(question: Question) -> str:
    verdict = (question.verdict or "").capitalize()
    return f"{verdict} by {question.by}" if question.by else f"{verdict}: nobody answered in time"


def _titled(said: str, first: Notification) -> str:
    about = first.title.removeprefix("Approval needed: ")
    return f"{said}: {about}"
