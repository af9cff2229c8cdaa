"""`remedy journal`: executions as the journal knows them, also while the service runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from keptn_remedy import settings
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    clean_up_on_interrupt,
    coloured,
    complain,
    console,
    is_terminal,
    printable,
    say,
    say_json,
    show_json,
    table,
)
from keptn_remedy.cli.waiting import PAGE, Wait, Waits, when
from keptn_remedy.journal import (
    JournalError,
    JournalUnusable,
    Record,
    State,
    Undelivered,
    WholeRecord,
)
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.ops.models import Execution, ExecutionDetail, Undo
from keptn_remedy.support.variables import SettingsError

FIRST_SHOWN = 10
FOLLOW_SECONDS = 0.5
ID_WIDTH = 36
_COLUMNS = ("ACCEPTED", "STATE", "ACTION", "PROJECT/STAGE/SERVICE", "EXECUTION", "OUTCOME")
# How an undo ended, and how the message of an execution tells it of its own.
_UNDO_ENDED = {
    "done": ("undone", "; undone"),
    "refused": ("undo refused", "; not undone: "),
    "failed": ("undo failed", "; UNDO FAILED: "),
}


def list_executions(state: State | None, limit: int, *, waiting: bool, as_json: bool) -> int:
    """The newest executions, or the newest that wait; returns the exit code."""

    async def show(journal: SqliteJournal) -> int:
        waits = await Waits.of(journal)
        if waiting:
            records = await waits.newest(journal, state, limit)
        else:
            records = await journal.records(state=state, limit=limit)
        if waiting and not records and not as_json:
            say("nothing waits for approval or behind another")
            return GOOD
        _show_all(records, waits, as_json=as_json)
        return GOOD

    return with_journal(show)


def show_execution(execution_id: str, *, as_json: bool) -> int:
    """One execution, whole; returns the exit code."""

    async def show(journal: SqliteJournal) -> int:
        record = await journal.record(execution_id)
        if record is None:
            complain([f"there is no execution {execution_id!r}; remedy journal list shows them"])
            return FAILED
        detail = ExecutionDetail.of(record)
        if as_json:
            say_json(detail.model_dump())
        else:
            _show_whole(record, detail, (await Waits.of(journal)).of_one(record))
        return GOOD

    return with_journal(show)


def follow(*, as_json: bool) -> int:
    """Print the newest executions, then each whose state changes, until interrupted."""

    async def show(journal: SqliteJournal) -> int:
        async for record, wait in _changes(journal):
            if as_json:
                _say_short(record, wait)
            else:
                say("  ".join(printable(cell) for cell in _row(record, wait)).rstrip())
        return GOOD

    clean_up_on_interrupt()
    with suppress(KeyboardInterrupt):
        return with_journal(show)
    return GOOD


def export() -> int:
    """Every execution, oldest first; returns the exit code."""

    async def show(journal: SqliteJournal) -> int:
        async for record in _since(journal, 0):
            if whole := await journal.record(record.id):  # it may have been pruned meanwhile
                say_json(ExecutionDetail.of(whole).model_dump())
        return GOOD

    return with_journal(show)


async def _since(journal: SqliteJournal, after: int) -> AsyncIterator[Record]:
    """Executions with a `seq` above `after`, oldest first."""
    while page := await journal.records_after(after, PAGE):
        for record in page:
            yield record
        after = page[-1].seq


async def _changes(journal: SqliteJournal) -> AsyncIterator[tuple[Record, Wait | None]]:
    """The newest executions, then each that is new, has changed or waits for something else, for
    ever.
    """
    newest = await journal.records(limit=FIRST_SHOWN)
    after = newest[-1].seq - 1 if newest else 0
    seen: dict[int, tuple[State, Wait | None]] = {}
    while True:
        waits = await Waits.of(journal)
        async for record in _since(journal, after):
            stands = record.state, waits.of_one(record)
            if seen.get(record.seq) != stands:
                seen[record.seq] = stands
                yield record, stands[1]
        # What is finished changes no more: look again from the oldest that is open.
        after = min(
            (seq - 1 for seq, (state, _) in seen.items() if state != "finished"),
            default=max(seen, default=after),
        )
        seen = {seq: stands for seq, stands in seen.items() if seq > after}
        await asyncio.sleep(FOLLOW_SECONDS)


def with_journal(
    use: Callable[[SqliteJournal], Awaitable[int]],
    open_at: Callable[[Path], SqliteJournal] = SqliteJournal.read_only,
) -> int:
    """Use the journal that the settings name; returns the exit code."""

    async def opened() -> int:
        journal = open_at(journal_path())
        try:
            return await use(journal)
        finally:
            await journal.close()

    try:
        return asyncio.run(opened())
    except SettingsError as error:
        complain(error.mistakes)
        return WRONG_USAGE
    except (JournalUnusable, JournalError) as error:
        complain([str(error)])
        return FAILED


def journal_path() -> Path:
    """Where `REMEDY_JOURNAL` says."""
    return settings.load(os.environ).journal


def _show_all(records: Iterable[Record], waits: Waits, *, as_json: bool) -> None:
    if as_json:
        for record in records:
            _say_short(record, waits.of_one(record))
    elif is_terminal():
        _show_for_people(records, waits)
    else:
        table(_COLUMNS, [_row(record, waits.of_one(record)) for record in records])


def _say_short(record: Record, wait: Wait | None) -> None:
    known = Execution.of(record, asks=bool(wait and wait.until)).model_dump()
    until, behind = (wait.until, wait.behind) if wait else (None, None)
    say_json({**known, "waiting_until": until, "waiting_behind": behind})


def _show_for_people(records: Iterable[Record], waits: Waits) -> None:
    """The id is what people copy, so it stays in one piece; the rest goes below it."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("ACCEPTED", "STATE", "ACTION"):
        made.add_column(column, overflow="fold")
    made.add_column("EXECUTION", min_width=ID_WIDTH, overflow="fold")
    for record in records:
        wait = waits.of_one(record)
        ended = record.result if record.status == "succeeded" else record.status
        state = coloured(ended or _state(record, wait))
        told = _with_undo(record, record.message or "")
        lines = filter(None, (record.id, _scope(record), told or str(wait or "")))
        texts = (when(record.accepted_at), state, Text(printable(record.action)))
        made.add_row(*texts, Text("\n".join(map(printable, lines))))
    console().print(made)


def _show_whole(record: WholeRecord, detail: ExecutionDetail, wait: Wait | None) -> None:
    facts = [
        ("execution", record.id),
        ("action", record.action),
        ("for", _scope(record)),
        ("state", _state(record, wait)),
        ("behind", wait and wait.behind),
        ("outcome", _outcome(record)),
        ("aborted", record.aborted),
        *_answer(record),
        *_question(detail),
        *_asked_about(record),
        ("undo", _undo(detail.undo)),
        *((name, when(at)) for name, at in _moments(record)),
        ("attempts", record.attempts),
        *(("plan", change) for change in (record.plan.changes if record.plan else ())),
        *(("note", note) for note in detail.notes),
        *(("not told yet", _undelivered(report)) for report in record.undelivered),
    ]
    table(("", ""), [(name, value) for name, value in facts if value])
    if record.details:
        say("\nDetails:")
        show_json(record.details)
    say("\nThe event as it came in:")
    show_json(detail.trigger)


def _answer(record: WholeRecord) -> Iterator[tuple[str, str]]:
    """Who said yes or no; a yes is also among the details of what came of it."""
    question, details = record.question, record.details
    if question and question.verdict and question.by:
        yield question.verdict, f"by {question.by}{_because(question.reason)}"
    elif by := details.get("approved_by"):
        because = details.get("approved_because")
        yield "approved", f"by {by}{_because(because if isinstance(because, str) else None)}"


def _question(detail: ExecutionDetail) -> Iterator[tuple[str, str]]:
    question = detail.question
    if question and not question.by:
        since = f"since {when(question.asked_at)}, for the rule {question.rule}"
        until = f"until {when(question.expires_at)}, then {question.default}"
        is_over = detail.state == "finished" or question.verdict
        yield "asked" if is_over else "asks", f"{since}; {until}"


def _asked_about(record: WholeRecord) -> Iterator[tuple[str, object]]:
    """The plan of a question, for as long as no plan was let act."""
    if record.plan or not (record.question and record.question.plan):
        return
    name = "would have done" if record.state == "finished" else "would do"
    yield from ((name, change) for change in record.question.plan.changes)


def _undo(undo: Undo | None) -> str:
    if undo is None:
        return ""
    if undo.state == "armed":
        moments = ["when the problem closes"] if undo.on_closed else []
        moments += [when(undo.due_at)] if undo.due_at else []
        return f"to be done: {' or '.join(moments)}"
    ended = f" at {when(undo.ended_at)}: {undo.message}" if undo.ended_at else ""
    by = f" by {undo.by}" if undo.by else ""
    return f"{undo.state}{ended} ({undo.cause}{by}{_because(undo.reason)})"


def _because(reason: str | None) -> str:
    return f": {reason}" if reason else ""


def _undelivered(report: Undelivered) -> str:
    reason = f": {report.reason}" if report.reason else ""
    return f"{report.kind} {report.state}, {report.attempts} attempts{reason}"


def _moments(record: Record) -> Iterator[tuple[str, datetime]]:
    for name in ("accepted", "started", "finished", "reported"):
        if at := getattr(record, f"{name}_at"):
            yield name, at


def _row(record: Record, wait: Wait | None) -> tuple[object, ...]:
    return (
        when(record.accepted_at),
        _state(record, wait),
        record.action,
        _scope(record),
        record.id,
        wait or _with_undo(record, _outcome(record)),
    )


def _state(record: Record, wait: Wait | None) -> str:
    return wait.state if wait else record.state


def _outcome(record: Record) -> str:
    return f"{record.status}/{record.result}: {record.message}" if record.status else ""


def _with_undo(record: Record, outcome: str) -> str:
    """The outcome, with how its undo ended; an undo within the execution is told by its message."""
    ended, told = _UNDO_ENDED.get(record.undone or "", ("", ""))
    return outcome if not ended or told in outcome else f"{outcome}; {ended}"


def _scope(record: Record) -> str:
    return f"{record.project}/{record.stage}/{record.service}"
