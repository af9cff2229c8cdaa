"""Reports to Keptn in the SQLite journal, until they are acknowledged."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

from keptn_remedy.events import Report
from keptn_remedy.journal import Backlog, JournalError, Unsent, rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.group_commit import Statement
from keptn_remedy.journal.sqlite_file import SqliteFile, json_list, owed


class Reports(SqliteFile):
    """The part of the journal that keeps reports."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Executions whose `started` was refused for good.
        self._refused: set[str] = set()

    async def unsent(self, now: float, limit: int, busy: Collection[str]) -> list[Unsent]:
        found = await self._rows(sql.UNSENT, (now, json_list(busy), limit))
        return [rows.unsent(row) for row in found]

    async def next_due(
        self, known: Collection[int], busy: Collection[str]
    ) -> tuple[bool, float | None]:
        found = await self._rows(sql.NEXT_DUE, (json_list(busy), json_list(known)))
        return bool(found[0][0]), found[0][1]

    async def forget(self, delivered: Sequence[Unsent]) -> None:
        finished = [u.report.execution or "" for u in delivered if u.report.kind == "finished"]
        await self._write(
            (sql.FORGET, (json_list([unsent.seq for unsent in delivered]),)),
            (sql.REPORTED, (self._now(), json_list(finished))),
        )

    async def postpone(self, unsent: Unsent, due_at: float, reason: str) -> None:
        await self._write(
            (
                sql.POSTPONE,
                (unsent.attempts, unsent.doubtful, due_at, reason, unsent.seq),
            )
        )

    async def park(
        self, unsent: Unsent, reason: str, log_entry: Report | None = None
    ) -> Unsent | None:
        report, now = unsent.report, self._now()
        statements: list[Statement] = [
            (sql.PARK, (reason, unsent.seq, report.execution, report.kind)),
        ]
        if log_entry:
            statements.append((sql.OWE, owed(log_entry, now)))
        if report.kind == "started" and report.execution:
            self._refused.add(report.execution)
        written = await self._write(*statements)
        with suppress(JournalError):  # it is stored: whoever insists must not store it twice
            if await self._rows(sql.IS_FINISHED, (report.execution,)):
                self._refused.discard(report.execution or "")
        return Unsent(written.last_row, log_entry, created_at=now) if log_entry else None

    async def owe(self, report: Report) -> Unsent:
        now = self._now()
        written = await self._write((sql.OWE, owed(report, now)))
        return Unsent(written.last_row, report, created_at=now)

    async def recover(self, grace: float) -> None:
        await self._write((sql.DOUBT, (self._now() + grace,)))
        self._refused = {row[0] for row in await self._rows(sql.REFUSED, ())}

    async def backlog(self) -> Backlog:
        *counts, opened_at, owed_at = (await self._rows(sql.BACKLOG, ()))[0]
        now = self._now()
        ages = (0.0 if at is None else max(0.0, now - at) for at in (opened_at, owed_at))
        return Backlog(*counts, *ages)
