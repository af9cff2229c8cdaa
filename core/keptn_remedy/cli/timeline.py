"""What happened to an execution, and when, in lines."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from keptn_remedy.cli.terminal import when
from keptn_remedy.journal import Undo, WholeRecord

_MOMENT_WIDTH = len("2026-03-02T14:03:20Z")
_PASSED_WIDTH = len("+999 min")
INDENT = " " * (2 + _MOMENT_WIDTH + 2 + _PASSED_WIDTH + 2)


def lines(record: WholeRecord) -> list[tuple[str, str, str]]:
    """Each moment in UTC, the time that has passed since acceptance, and what happened."""
    found = sorted(_moments(record), key=lambda moment: moment[0])
    return [
        (when(at), _passed(record.accepted_at, at).rjust(_PASSED_WIDTH), happened)
        for at, happened in found
    ]


def _moments(record: WholeRecord) -> Iterator[tuple[datetime, str]]:
    yield record.accepted_at, "accepted"
    if question := record.question:
        asked = datetime.fromtimestamp(question.asked_at, UTC)
        yield asked, f"asked for approval, by the rule {question.rule}"
    if record.started_at:
        yield record.started_at, "started"
    for failed in record.failed_attempts:
        of_phase = f" ({failed.phase})" if failed.phase != "run" else ""
        yield failed.failed_at, f"attempt {failed.number} failed{of_phase}: {failed.cause}"
    if record.finished_at:
        yield record.finished_at, f"finished: {record.status}/{record.result}: {record.message}"
    if record.reported_at:
        yield record.reported_at, "the outcome is acknowledged"
    if record.undo:
        yield from _undo(record.undo)


def _undo(undo: Undo) -> Iterator[tuple[datetime, str]]:
    if undo.asked_at:
        yield undo.asked_at, f"undo requested ({undo.cause})"
    if undo.ended_at:
        yield undo.ended_at, f"undo {undo.state}: {undo.message}"


def _passed(start: datetime, end: datetime) -> str:
    seconds = (end - start).total_seconds()
    if seconds < 0.05:
        return ""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"+{seconds / size:.0f} {unit}"
    return f"+{seconds:.1f} s"
