"""`remedy journal`: executions as the journal knows them, also while the service runs."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from keptn_remedy import settings
from keptn_remedy.cli.terminal import FAILED, GOOD, WRONG_USAGE, complain, console, say, table
from keptn_remedy.journal import JournalError, JournalUnusable, Record
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.settings import SettingsError
from keptn_remedy.web.models import Execution, ExecutionDetail

T = TypeVar("T")
PAGE = 500
FOLLOW_SECONDS = 0.5
_COLUMNS = ("ACCEPTED", "STATE", "ACTION", "PROJECT/STAGE/SERVICE", "OUTCOME", "ID")


def list_executions(state: Any, limit: int, *, as_json: bool) -> int:
    """The newest executions; returns the exit code."""

    async def show(journal: SqliteJournal) -> int:
        records = await journal.records(state=state, limit=limit)
        if as_json:
            _as_json_lines(records)
        else:
            table(_COLUMNS, map(_row, records))
        return GOOD

    return _with_journal(show)


def show_execution(execution_id: str, *, as_json: bool) -> int:
    """One execution, whole; returns the exit code."""

    async def show(journal: SqliteJournal) -> int:
        record = await journal.record(execution_id)
        if record is None:
            complain([f"there is no execution {execution_id!r}"])
            return FAILED
        detail = ExecutionDetail.of(record)
        if as_json:
            say(detail.model_dump_json())
        else:
            console().print_json(detail.model_dump_json(exclude_none=True))
        return GOOD

    return _with_journal(show)


def follow(*, as_json: bool) -> int:
    """Print each execution whenever its state changes, until interrupted."""

    async def show(journal: SqliteJournal) -> int:
        seen: dict[str, str] = {}
        while True:
            changed = [
                record
                for record in reversed(await journal.records(limit=PAGE))
                if seen.get(record.id) != record.state
            ]
            if as_json:
                _as_json_lines(changed)
            else:
                for record in changed:
                    say("  ".join(str(cell) for cell in _row(record)))
            seen.update((record.id, record.state) for record in changed)
            await asyncio.sleep(FOLLOW_SECONDS)

    with suppress(KeyboardInterrupt):
        return _with_journal(show)
    return GOOD


def export() -> int:
    """Every execution, oldest first; returns the exit code."""

    async def show(journal: SqliteJournal) -> int:
        async for record in _oldest_first(journal):
            say(ExecutionDetail.of(record).model_dump_json())
        return GOOD

    return _with_journal(show)


async def _oldest_first(journal: SqliteJournal) -> AsyncIterator[Record]:
    after = 0
    while page := await journal.records_after(after, PAGE):
        for record in page:
            yield record
        after = page[-1].seq


def _with_journal(look: Callable[[SqliteJournal], Awaitable[int]]) -> int:
    async def opened() -> int:
        journal = SqliteJournal.read_only(_path())
        try:
            return await look(journal)
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


def _path() -> Path:
    return settings.load(os.environ).journal


def _as_json_lines(records: Iterable[Record]) -> None:
    for record in records:
        say(Execution.of(record).model_dump_json())


def _row(record: Record) -> tuple[object, ...]:
    outcome = f"{record.status}/{record.result}: {record.message}" if record.status else ""
    return (
        record.accepted_at.isoformat(timespec="seconds"),
        record.state,
        record.action,
        f"{record.project}/{record.stage}/{record.service}",
        outcome,
        record.id,
    )
