"""The journal in one SQLite file: a writing thread with group commit, and a reading thread."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import orjson

from keptn_remedy.action import JSON, Outcome, Plan
from keptn_remedy.events import ActionTriggered, Report
from keptn_remedy.journal import (
    Backlog,
    Execution,
    JournalError,
    JournalUnusable,
    Record,
    State,
    Unsent,
    WholeRecord,
    lane,
    rows,
)
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.group_commit import GroupCommit, Statement
from keptn_remedy.journal.schema import migrate

T = TypeVar("T")


class SqliteJournal:
    """The journal of one service process. `open` for serving, `read_only` for looking."""

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        on_commit: Callable[[float, int], None] = lambda seconds, changes: None,
    ) -> None:
        self._path = path
        self._now = now
        self._on_commit = on_commit
        self._reading = ThreadPoolExecutor(1, "journal-reader")
        self._reader: sqlite3.Connection | None = None
        self._writing: GroupCommit | None = None
        self._lock: int | None = None
        # Executions whose `started` was refused for good.
        self._refused: set[str] = set()

    @classmethod
    def open(cls, path: Path, **options: Any) -> SqliteJournal:
        """Open the file for serving, making or migrating it; one process at a time may.

        Raises:
            JournalUnusable: the file can't be opened, is newer than we are, or is in use.
        """
        journal = cls(path, **options)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            journal._lock = _lock(path)
            path.touch(mode=0o600)  # it holds whole events
            connection = journal._connect()
            migrate(connection)
            connection.close()
        except (OSError, sqlite3.Error) as error:
            raise JournalUnusable(f"can't open the journal {path}: {error}") from error
        journal._writing = GroupCommit(journal._connect, journal._on_commit)
        return journal

    @classmethod
    def read_only(cls, path: Path) -> SqliteJournal:
        """Open the file beside a running service, for reading alone.

        Raises:
            JournalUnusable: there is no such file.
        """
        if not path.is_file():
            raise JournalUnusable(f"there is no journal at {path}; set REMEDY_JOURNAL")
        return cls(path)

    @property
    def failure(self) -> str | None:
        return self._writing.failure if self._writing else None

    def take_failure(self) -> str | None:
        return self._writer.take_failure()

    async def accept(self, trigger: ActionTriggered, action: str) -> Execution | None:
        written = await self._write(
            (
                sql.ACCEPT,
                (
                    trigger.id,
                    lane(trigger),
                    action,
                    trigger.context,
                    trigger.project,
                    trigger.stage,
                    trigger.service,
                    self._now(),
                    trigger.body,
                ),
            )
        )
        return Execution(written.last_row, trigger, action) if written.rows else None

    async def begin(self, execution: Execution, started: Report) -> Unsent | None:
        return await self._start(execution, started, runs=1)

    async def announce(self, execution: Execution, started: Report) -> Unsent | None:
        return await self._start(execution, started, runs=0)

    async def _start(self, execution: Execution, started: Report, *, runs: int) -> Unsent | None:
        now = self._now()
        written = await self._write(
            (sql.OWE_STARTED, (*_owed(started, now), execution.seq)),
            (sql.BEGIN, (now, runs, execution.seq)),
        )
        if not written.rows:
            return None
        return Unsent(written.last_row, started, created_at=now, action=execution.action)

    async def keep_plan(self, execution: Execution, plan: Plan) -> None:
        await self._write(
            ("UPDATE executions SET plan = ? WHERE seq = ?", (plan.to_json(), execution.seq))
        )

    async def keep_failure(self, execution: Execution, failure: Outcome) -> None:
        await self._write(
            (
                "UPDATE executions SET failure = ? WHERE seq = ?",
                (orjson.dumps(failure), execution.seq),
            )
        )

    async def finish(
        self, execution: Execution, outcome: Outcome, attempts: int, reports: Sequence[Report]
    ) -> list[Unsent]:
        now = self._now()
        finish = (
            now,
            attempts,
            outcome.status,
            outcome.result,
            outcome.message,
            orjson.dumps(outcome.details, default=str, option=orjson.OPT_NON_STR_KEYS),
            execution.seq,
        )
        statements: list[Statement] = [(sql.FINISH, finish)]
        statements += [(sql.OWE_IF_CHANGED, _owed(report, now)) for report in reports]
        is_refused = execution.id in self._refused
        if is_refused:
            statements.append((sql.PARK_AFTER_STARTED, (execution.id,)))
        written = await self._write(*statements)
        self._refused.discard(execution.id)
        if not written.rows or is_refused:
            return []  # what isn't parked is fetched by `unsent`
        last = written.last_row
        seqs = range(last - len(reports) + 1, last + 1)
        return [
            Unsent(seq, report, created_at=now, action=execution.action)
            for seq, report in zip(seqs, reports, strict=True)
        ]

    async def waiting(
        self, limit: int, *, busy: Collection[str], running: Collection[int], upto: int
    ) -> tuple[list[Execution], int]:
        # Written out here: in the reading thread the collections may have changed.
        busy_lanes, running_seqs = _json_list(busy), _json_list(running)

        def read(reader: sqlite3.Connection) -> tuple[list[Execution], int]:
            reader.execute("BEGIN")  # both of one moment
            try:
                found = reader.execute(sql.WAITING, (busy_lanes, limit)).fetchall()
                waiting = reader.execute(sql.COUNT_WAITING, (upto, running_seqs)).fetchone()[0]
            finally:
                reader.execute("COMMIT")
            return rows.executions(found), waiting

        return await self._read(read)

    async def planned(self) -> list[Execution]:
        return rows.executions(await self._rows(sql.PLANNED, ()))

    async def unannounced(self, before: float, limit: int) -> list[Execution]:
        return rows.executions(await self._rows(sql.UNANNOUNCED, (before, limit)))

    async def unsent(self, now: float, limit: int, busy: Collection[str]) -> list[Unsent]:
        found = await self._rows(sql.UNSENT, (now, _json_list(busy), limit))
        return [rows.unsent(row) for row in found]

    async def next_due(
        self, known: Collection[int], busy: Collection[str]
    ) -> tuple[bool, float | None]:
        found = await self._rows(sql.NEXT_DUE, (_json_list(busy), _json_list(known)))
        return bool(found[0][0]), found[0][1]

    async def forget(self, delivered: Sequence[Unsent]) -> None:
        finished = [u.report.execution or "" for u in delivered if u.report.kind == "finished"]
        await self._write(
            (sql.FORGET, (_json_list([unsent.seq for unsent in delivered]),)),
            (sql.REPORTED, (self._now(), _json_list(finished))),
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
            statements.append((sql.OWE, _owed(log_entry, now)))
        if report.kind == "started" and report.execution:
            self._refused.add(report.execution)
        written = await self._write(*statements)
        with suppress(JournalError):  # it is stored: whoever insists must not store it twice
            if await self._rows(sql.IS_FINISHED, (report.execution,)):
                self._refused.discard(report.execution or "")
        return Unsent(written.last_row, log_entry, created_at=now) if log_entry else None

    async def owe(self, report: Report) -> Unsent:
        now = self._now()
        written = await self._write((sql.OWE, _owed(report, now)))
        return Unsent(written.last_row, report, created_at=now)

    async def recover(self, grace: float) -> None:
        await self._write((sql.DOUBT, (self._now() + grace,)))
        self._refused = {row[0] for row in await self._rows(sql.REFUSED, ())}

    async def recall(self, action: str, key: str) -> JSON:
        found = await self._rows(
            "SELECT value FROM memory WHERE action = ? AND key = ?", (action, key)
        )
        return orjson.loads(found[0][0]) if found else None

    async def remember(self, action: str, key: str, value: JSON) -> None:
        if value is None:
            await self._write(("DELETE FROM memory WHERE action = ? AND key = ?", (action, key)))
        else:
            await self._write((sql.REMEMBER, (action, key, orjson.dumps(value))))

    async def records(
        self, *, state: State | None = None, before: int | None = None, limit: int = 100
    ) -> list[Record]:
        # What is open has an index of its own, and may lie far back in a long history.
        look = sql.OPEN_RECORDS if state in ("accepted", "started") else sql.RECORDS
        newest = 2**62 if before is None else before
        return [rows.record(row) for row in await self._rows(look, (newest, state, limit))]

    async def records_after(self, after: int, limit: int) -> list[Record]:
        """Executions, oldest first, with a `seq` above `after`."""
        return [rows.record(row) for row in await self._rows(sql.RECORDS_AFTER, (after, limit))]

    async def record(self, execution_id: str) -> WholeRecord | None:
        def read(reader: sqlite3.Connection) -> WholeRecord | None:
            row = reader.execute(sql.WHOLE, (execution_id,)).fetchone()
            if row is None:
                return None
            undelivered = reader.execute(sql.UNDELIVERED, (execution_id,)).fetchall()
            return rows.whole_record(row, undelivered)

        return await self._read(read)

    async def backlog(self) -> Backlog:
        *counts, opened_at, owed_at = (await self._rows(sql.BACKLOG, ()))[0]
        now = self._now()
        ages = (0.0 if at is None else max(0.0, now - at) for at in (opened_at, owed_at))
        return Backlog(*counts, *ages)

    async def prune(self, before: float, limit: int) -> int:
        written = await self._write((sql.PRUNE, (before, limit)), (sql.PRUNE_PARKED, (before,)))
        pruned: int = written.rows
        return pruned

    async def close(self) -> None:
        # The writer last: closing the last connection folds the -wal file into the journal.
        await asyncio.get_running_loop().run_in_executor(self._reading, self._forget_reader)
        self._reading.shutdown()
        if self._writing:
            await self._writing.close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def _writer(self) -> GroupCommit:
        if self._writing is None:
            raise JournalError("the journal was opened for reading")
        return self._writing

    def _write(self, *statements: Statement) -> asyncio.Future[Any]:
        return self._writer.write(*statements)

    def _connect(self) -> sqlite3.Connection:
        """A connection for writing: each commit survives a power cut (synchronous=FULL)."""
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA busy_timeout = 1000")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        return connection

    async def _rows(self, look: str, bound: Sequence[Any]) -> list[Any]:
        return await self._read(lambda reader: reader.execute(look, bound).fetchall())

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        def attempt() -> T:
            try:
                if self._reader is None:
                    uri = f"{self._path.absolute().as_uri()}?mode=ro"
                    self._reader = sqlite3.connect(
                        uri, uri=True, isolation_level=None, check_same_thread=False
                    )
                return read(self._reader)
            except sqlite3.Error as error:
                self._forget_reader()
                raise JournalError(str(error)) from error

        return await asyncio.get_running_loop().run_in_executor(self._reading, attempt)

    def _forget_reader(self) -> None:
        if self._reader is not None:
            with suppress(sqlite3.Error):
                self._reader.close()
            self._reader = None


def _lock(path: Path) -> int:
    descriptor = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise JournalUnusable(f"another process serves from the journal {path}") from None
    return descriptor


def _owed(report: Report, now: float) -> tuple[Any, ...]:
    return (report.execution, report.kind, report.body, now, now)


def _json_list(values: Collection[str] | Collection[int]) -> str:
    return orjson.dumps(list(values)).decode()
