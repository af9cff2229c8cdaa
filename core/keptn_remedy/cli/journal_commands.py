"""`remedy journal`: lists, shows, follows and exports executions, also while the service runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress

from keptn_remedy.cli import found_actions
from keptn_remedy.cli.desk import Desk
from keptn_remedy.cli.execution_ids import NotOne, resolved
from keptn_remedy.cli.execution_text import show_all, show_short, show_whole
from keptn_remedy.cli.opened_journal import with_desk
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
from keptn_remedy.journal import Criteria, Cursor, Record, Since, State
from keptn_remedy.ops.models import ExecutionDetail
from keptn_remedy.registry import RegistryError
from keptn_remedy.support.variables import SettingsError

FIRST_SHOWN = 10
FOLLOW_SECONDS = 0.5


def list_executions(criteria: Criteria, limit: int, *, waiting: bool, as_json: bool) -> int:
    """Show the newest executions, or the newest that wait; returns the exit code."""

    async def show(journal: Desk) -> int:
        waits = await Waits.of(journal)
        if waiting:
            records = await waits.newest(journal, criteria, limit)
        else:
            records = await journal.search(criteria, limit=limit)
        if not records and not as_json and (waiting or is_terminal()):
            say(_none(criteria, waiting=waiting))
        else:
            types = await journal.event_types([record.id for record in records])
            show_all(records, waits, types, as_json=as_json)
        return GOOD

    return with_desk(show)


def show_execution(named: str, *, as_json: bool) -> int:
    """Show all that the journal knows of one execution; returns the exit code."""
    try:
        mask = found_actions.mask(os.environ)
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE

    async def show(journal: Desk) -> int:
        try:
            execution_id = await resolved(journal, named)
        except NotOne as error:
            complain([str(error)])
            return FAILED
        record = await journal.record(execution_id)
        if record is None:
            complain([f"there is no execution {execution_id!r}; remedy journal list shows the ids"])
            return FAILED
        if as_json:
            say_json(mask.value(ExecutionDetail.of(record).model_dump()))
        else:
            show_whole(record, (await Waits.of(journal)).of_one(record), mask)
        return GOOD

    return with_desk(show)


def follow(*, as_json: bool) -> int:
    """Show the newest executions, then each change, until Ctrl-C; returns the exit code."""

    async def show(journal: Desk) -> int:
        async for record, wait in _changes(journal):
            types = await journal.event_types([record.id])
            show_short(record, wait, types.get(record.id), as_json=as_json)
        return GOOD

    clean_up_on_interrupt()
    with suppress(KeyboardInterrupt):
        return with_desk(show)
    return GOOD


def export() -> int:
    """Print every execution, oldest first; returns the exit code."""
    try:
        mask = found_actions.mask(os.environ)
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE

    async def show(journal: Desk) -> int:
        async for record in _oldest_first(journal):
            if whole := await journal.record(record.id):  # it may have been pruned meanwhile
                say_json(mask.value(ExecutionDetail.of(whole).model_dump()))
        return GOOD

    return with_desk(show)


def _none(criteria: Criteria, *, waiting: bool) -> str:
    if waiting:
        return "no execution waits for approval or behind another execution"
    if criteria == Criteria(state=criteria.state):
        state = criteria.state
        known = f"no execution has the state {state}" if state else ""
        return known or "the journal holds no executions yet"
    return "no execution matches"


async def _oldest_first(journal: Desk) -> AsyncIterator[Record]:
    after: Cursor | None = None
    while page := await journal.records_after(after, PAGE):
        for record in page:
            yield record
        after = page[-1].cursor


async def _changes(journal: Desk) -> AsyncIterator[tuple[Record, Wait | None]]:
    """The newest executions, then each that is new, has changed or waits for something else, until
    cancelled.
    """
    _, since = await journal.changes(None, PAGE)
    changed = await journal.search(Criteria(), limit=FIRST_SHOWN)
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


async def _all_changes(journal: Desk, since: Since) -> tuple[list[Record], Since]:
    found: list[Record] = []
    while True:
        page, since = await journal.changes(since, PAGE)
        found += page
        if len(page) < PAGE:
            return found, since
