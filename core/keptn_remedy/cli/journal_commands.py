"""`remedy journal`: lists, shows, follows and exports executions, also while the service runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress

from keptn_remedy.cli import found_actions
from keptn_remedy.cli.execution_text import show_all, show_short, show_whole
from keptn_remedy.cli.opened_journal import with_journal
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    clean_up_on_interrupt,
    complain,
    is_terminal,
    say,
    say_json,
)
from keptn_remedy.cli.waiting import PAGE, Wait, Waits
from keptn_remedy.journal import Cursor, Record, Records, Since, State, open_read_only
from keptn_remedy.ops.models import ExecutionDetail
from keptn_remedy.registry import RegistryError
from keptn_remedy.support.variables import SettingsError

FIRST_SHOWN = 10
FOLLOW_SECONDS = 0.5


def list_executions(state: State | None, limit: int, *, waiting: bool, as_json: bool) -> int:
    """Show the newest executions, or the newest that wait; returns the exit code."""

    async def show(journal: Records) -> int:
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

    return with_journal(show, open_read_only)


def show_execution(execution_id: str, *, as_json: bool) -> int:
    """Show all that the journal knows of one execution; returns the exit code."""
    try:
        mask = found_actions.mask(os.environ)
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE

    async def show(journal: Records) -> int:
        record = await journal.record(execution_id)
        if record is None:
            complain([f"there is no execution {execution_id!r}; remedy journal list shows the ids"])
            return FAILED
        if as_json:
            say_json(mask.value(ExecutionDetail.of(record).model_dump()))
        else:
            show_whole(record, (await Waits.of(journal)).of_one(record), mask)
        return GOOD

    return with_journal(show, open_read_only)


def follow(*, as_json: bool) -> int:
    """Show the newest executions, then each change, until Ctrl-C; returns the exit code."""

    async def show(journal: Records) -> int:
        async for record, wait in _changes(journal):
            show_short(record, wait, as_json=as_json)
        return GOOD

    clean_up_on_interrupt()
    with suppress(KeyboardInterrupt):
        return with_journal(show, open_read_only)
    return GOOD


def export() -> int:
    """Print every execution, oldest first; returns the exit code."""
    try:
        mask = found_actions.mask(os.environ)
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE

    async def show(journal: Records) -> int:
        async for record in _oldest_first(journal):
            if whole := await journal.record(record.id):  # it may have been pruned meanwhile
                say_json(mask.value(ExecutionDetail.of(whole).model_dump()))
        return GOOD

    return with_journal(show, open_read_only)


def _none(state: State | None, *, waiting: bool) -> str:
    if waiting:
        return "no execution waits for approval or behind another execution"
    return f"no execution has the state {state}" if state else "the journal holds no executions yet"


async def _oldest_first(journal: Records) -> AsyncIterator[Record]:
    after: Cursor | None = None
    while page := await journal.records_after(after, PAGE):
        for record in page:
            yield record
        after = page[-1].cursor


async def _changes(journal: Records) -> AsyncIterator[tuple[Record, Wait | None]]:
    """The newest executions, then each that is new, has changed or waits for something else, until
    cancelled.
    """
    _, since = await journal.changes(None, PAGE)
    changed = await journal.records(limit=FIRST_SHOWN)
    shown: dict[Cursor, tuple[State, Wait | None]] = {}
    still_open: dict[Cursor, Record] = {}
    while True:
        waits = await Waits.of(journal)
        still_open |= {record.cursor: record for record in changed}
        # In the order of acceptance. What they wait for may change without any change of state.
        for cursor, record in sorted(still_open.items()):
            stands = record.state, waits.of_one(record)
            if shown.get(cursor) != stands:
                shown[cursor] = stands
                yield record, stands[1]
            if record.state == "finished":
                del still_open[cursor], shown[cursor]
        await asyncio.sleep(FOLLOW_SECONDS)
        changed, since = await _all_changes(journal, since)


async def _all_changes(journal: Records, since: Since) -> tuple[list[Record], Since]:
    found: list[Record] = []
    while True:
        page, since = await journal.changes(since, PAGE)
        found += page
        if len(page) < PAGE:
            return found, since
