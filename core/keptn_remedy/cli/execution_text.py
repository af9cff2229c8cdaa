"""How `remedy journal` shows executions: as rows and paragraphs, one whole, or as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rich.text import Text

from keptn_remedy.cli import timeline
from keptn_remedy.cli.terminal import (
    ago,
    coloured,
    console,
    folded,
    is_terminal,
    printable,
    say,
    say_folded,
    say_json,
    show_json,
    table,
    when,
)
from keptn_remedy.cli.waiting import VERDICTS, Wait, Waits
from keptn_remedy.events import ACTION, task_of
from keptn_remedy.journal import OpenReport, Record, WholeRecord
from keptn_remedy.ops.models import Execution, ExecutionDetail, Undo
from keptn_remedy.support.masking import Mask

_COLUMNS = ("EXECUTION", "STATE", "ACTION", "PROJECT/STAGE/SERVICE", "ACCEPTED", "OUTCOME")
_ID_WIDTH = 36
_STATE_WIDTH = len("waits for approval")
_INDENT = " " * 4
# How an undo ended, and how the message of an execution says so of its own undo.
_UNDO_ENDED = {
    "done": ("undone", "; undone"),
    "refused": ("undo refused", "; not undone: "),
    "failed": ("undo failed", "; UNDO FAILED: "),
}


def show_all(
    records: Iterable[Record], waits: Waits, types: Mapping[str, str], *, as_json: bool
) -> None:
    """Print many: a paragraph each for people, a line each for programs. `types` are those of the
    events.
    """
    if as_json:
        for record in records:
            say_short(record, waits.of_one(record), types.get(record.id))
    elif is_terminal():
        heading = "  ".join(("EXECUTION".ljust(_ID_WIDTH), "STATE".ljust(_STATE_WIDTH), "ACCEPTED"))
        console().print(heading, style="bold", soft_wrap=True)
        for record in records:
            accepted = ago(record.accepted_at)
            show_paragraph(record, waits.of_one(record), types.get(record.id), accepted)
    else:
        rows = [_row(each, waits.of_one(each), types.get(each.id)) for each in records]
        table(_COLUMNS, rows)


def show_short(record: Record, wait: Wait | None, event_type: str | None, *, as_json: bool) -> None:
    """Print one of many: a paragraph for people, a line for programs."""
    if as_json:
        say_short(record, wait, event_type)
    elif is_terminal():
        show_paragraph(record, wait, event_type, when(record.accepted_at))
    else:
        say("  ".join(printable(cell) for cell in _row(record, wait, event_type)).rstrip())


def say_short(record: Record, wait: Wait | None, event_type: str | None) -> None:
    """Print one line of JSON, with what the execution waits for."""
    asks = bool(wait and wait.until)
    known = Execution.of(record, asks=asks, event_type=event_type).model_dump()
    until, behind = (wait.until, wait.behind) if wait else (None, None)
    say_json({**known, "waiting_until": until, "waiting_behind": behind})


def show_paragraph(
    record: Record, wait: Wait | None, event_type: str | None, accepted: str
) -> None:
    """Print it for people. The id is what they copy: it comes first, and in one piece."""
    ended = record.result if record.status == "succeeded" else record.status
    state = coloured((ended or _state(record, wait)).ljust(_STATE_WIDTH), ended or "")
    line = Text.assemble(printable(record.id).ljust(_ID_WIDTH), "  ", state, "  ", accepted)
    console().print(line, soft_wrap=True)
    message = _with_undo(record, record.message or "") or str(wait or "")
    about = f"{_action(record, event_type)} for {_scope(record)}"
    for text in filter(None, (about, message)):
        say(folded(text, _INDENT, _INDENT))


def show_whole(record: WholeRecord, wait: Wait | None, mask: Mask) -> None:
    """Print all that the journal knows of one execution, without secrets."""
    detail = ExecutionDetail.of(record)
    say(f"{record.id}  {_state(record, wait)}")
    for moment, passed, happened in timeline.lines(record):
        say_folded(mask.text(happened), f"  {moment}  {passed}  ", timeline.INDENT)
    say("")
    facts = [
        ("execution", record.id),
        ("action", record.action),
        ("task", detail.task if detail.task != ACTION else None),
        ("for", _scope(record)),
        ("keptn context", record.context),
        ("state", _state(record, wait)),
        ("behind", wait and wait.behind),
        ("outcome", _outcome(record)),
        ("aborted", record.aborted),
        *_answer(record),
        *_question(detail),
        *_asked_about(record),
        *_to_do(record, wait),
        ("undo", _undo(detail.undo)),
        ("attempts", record.attempts),
        *(("plan", change) for change in (record.plan.changes if record.plan else ())),
        *(("note", note) for note in detail.notes),
        *(("undelivered", _undelivered(report)) for report in record.undelivered),
    ]
    table(("", ""), [(name, mask.text(str(value))) for name, value in facts if value])
    if record.details:
        say("\nDetails:")
        show_json(mask.value(record.details))
    say("\nThe event as received:")
    show_json(mask.value(detail.trigger))


def _answer(record: WholeRecord) -> Iterator[tuple[str, str]]:
    """Who approved or denied it; an approval is also among the details of the outcome."""
    question, details = record.question, record.details
    if question and question.verdict and question.by:
        yield question.verdict, f"by {question.by}{_because(question.reason)}"
    elif by := details.get("approved_by"):
        because = details.get("approved_because")
        yield "approved", f"by {by}{_because(because if isinstance(because, str) else None)}"


def _question(detail: ExecutionDetail) -> Iterator[tuple[str, str]]:
    question = detail.question
    if question and not question.by:
        due = when(question.expires_at)
        asked = f"asked at {when(question.asked_at)} by the rule {question.rule}"
        yield "approval", f"{asked}; {VERDICTS[question.default]} unless answered by {due}"


def _asked_about(record: WholeRecord) -> Iterator[tuple[str, object]]:
    """The plan that needs approval, unless a plan was already admitted."""
    if record.plan or not (record.question and record.question.plan):
        return
    name = "would have done" if record.state == "finished" else "would do"
    yield from ((name, change) for change in record.question.plan.changes)


def _to_do(record: WholeRecord, wait: Wait | None) -> Iterator[tuple[str, str]]:
    """The commands that whoever reads this may need next."""
    if wait and wait.until:
        yield "to answer", f"remedy approve {record.id}"
        yield "", f"remedy deny {record.id}"
    if any(report.state == "parked" for report in record.undelivered):
        yield "to send again", f"remedy reports resend {record.id}"
    if record.undo and record.undo.state in ("refused", "failed"):
        yield "to do", "look at what is there now: nothing more is put back by itself"


def _undo(undo: Undo | None) -> str:
    if undo is None:
        return ""
    if undo.state == "armed":
        moments = ["when the problem closes"] if undo.on_closed else []
        moments += [f"at {when(undo.due_at)}"] if undo.due_at else []
        return f"will run {' or '.join(moments)}"
    state = "requested" if undo.state == "wanted" else undo.state
    ended = f" at {when(undo.ended_at)}: {undo.message}" if undo.ended_at else ""
    by = f" by {undo.by}" if undo.by else ""
    return f"{state}{ended} ({undo.cause}{by}{_because(undo.reason)})"


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _undelivered(report: OpenReport) -> str:
    tries = "1 attempt" if report.attempts == 1 else f"{report.attempts} attempts"
    return f"{report.kind}: {report.state} after {tries}{_because(report.reason)}"


def _row(record: Record, wait: Wait | None, event_type: str | None) -> tuple[object, ...]:
    return (
        record.id,
        _state(record, wait),
        _action(record, event_type),
        _scope(record),
        when(record.accepted_at),
        wait or _with_undo(record, _outcome(record)),
    )


def _action(record: Record, event_type: str | None) -> str:
    """With what it was asked for, unless that is the task `action`."""
    task = (task_of(event_type) or event_type) if event_type else ACTION
    return record.action if task == ACTION else f"{record.action} ({task})"


def _state(record: Record, wait: Wait | None) -> str:
    return wait.state if wait else record.state


def _outcome(record: Record) -> str:
    return f"{record.status}/{record.result}: {record.message}" if record.status else ""


def _with_undo(record: Record, outcome: str) -> str:
    """The outcome and how its undo ended. The message may say so already."""
    ended, said = _UNDO_ENDED.get(record.undone or "", ("", ""))
    return outcome if not ended or said in outcome else f"{outcome}; {ended}"


def _scope(record: Record) -> str:
    return f"{record.project}/{record.stage}/{record.service}"
