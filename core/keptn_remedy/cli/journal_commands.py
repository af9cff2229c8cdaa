"""`remedy journal`: lists, shows, follows and exports executions, also while the service runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

from keptn_remedy.cli.execution_text import show_all, show_short, show_whole
from keptn_remedy.cli.opened_journal import with_journal
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    clean_up_on_interrupt,
    complain,
    is_terminal,
    say,
    say_json,
)
from keptn_remedy.cli.waiting import PAGE, Wait, Waits
from keptn_remedy.journal import Record, State
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.ops.models import ExecutionDetail

FIRST_SHOWN = 10
FOLLOW_SECONDS = 0.5


def list_executions(state: State | None, limit: int, *, waiting: bool, as_json: bool) -> int:
    """Show the newest executions, or the newest that wait; returns the exit code."""

    async def show(journal: SqliteJournal) -> int:
        waits = await Waits.of(journal)
        if waiting:
            records = await waits.newest(journal, state, limit)
        else:
            records = await journal.records(state=state, limit=limit)
        if not records and not as_json and (waiting or is_terminal()):
            say(_none(state, waiting=waiting))
        else:
            show_all(records, waits, as_json=as_json)
        return GOOD

    return with_journal(show)


def show_execution(execution_id: str, *, as_json: bool) -> int:
    """Show all that the journal knows of one execution; returns the exit code."""

    async def show(journal: SqliteJournal) -> int:
        record = await journal.record(execution_id)
        if record is None:
            complain([f"there is no execution {execution_id!r}; remedy journal list shows the ids"])
            return FAILED
        if as_json:
            say_json(ExecutionDetail.of(record).model_dump())
        else:
            show_whole(record, (await Waits.of(journal)).of_one(record))
        return GOOD

    return with_journal(show)


def follow(*, as_json: bool) -> int:
    """Show the newest executions, then each change, until Ctrl-C; returns the exit code."""

    async def show(journal: SqliteJournal) -> int:
        async for record, wait in _changes(journal):
            show_short(record, wait, as_json=as_json)
        return GOOD

    clean_up_on_interrupt()
    with suppress(KeyboardInterrupt):
        return with_journal(show)
    return GOOD


def export() -> int:
    """Print every execution, oldest first; returns the exit code."""

    async def show(journal: SqliteJournal) -> int:
        async for record in _since(journal, 0):
            if whole := await journal.record(record.id):  # it may have been pruned meanwhile
                say_json(ExecutionDetail.of(whole).model_dump())
        return GOOD

    return with_journal(show)


def _none(state: State | None, *, waiting: bool) -> str:
    if waiting:
        return "no execution waits for approval or behind another execution"
    return f"no execution has the state {state}" if state else "the journal holds no executions yet"


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
