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
from keptn_remedy.journal.group_commit import GroupCommit, Statement
from keptn_remedy.journal.schema import migrate

T = TypeVar("T")

_ACCEPT = """
INSERT INTO executions (id, lane, action, context, project, stage, service, accepted_at, event)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"""
_OWE_STARTED = """
INSERT INTO reports (execution, kind, event, created_at, due_at)
SELECT ?, ?, ?, ?, ? FROM executions WHERE seq = ? AND state = 'accepted'"""
_BEGIN = """
UPDATE executions SET state = 'started', started_at = coalesce(started_at, ?), runs = runs + ?
WHERE seq = ? AND state <> 'finished'"""
_FINISH = """
UPDATE executions SET state = 'finished', finished_at = ?, attempts = ?, status = ?, result = ?,
    message = ?, details = ?
WHERE seq = ? AND state <> 'finished'"""
# changes() is 1 after the update, and after each report that it let in.
_OWE_IF_CHANGED = """
INSERT INTO reports (execution, kind, event, created_at, due_at)
SELECT ?, ?, ?, ?, ? WHERE changes() > 0"""
_PARK_AFTER_STARTED = """
UPDATE reports SET state = 'parked', reason = 'its started was refused'
WHERE execution = ? AND kind = 'finished' AND EXISTS (SELECT 1 FROM reports AS earlier
    WHERE earlier.execution = reports.execution AND earlier.kind = 'started'
        AND earlier.state = 'parked')"""
_OWE = """
INSERT INTO reports (execution, kind, event, created_at, due_at) VALUES (?, ?, ?, ?, ?)"""
_FORGET = "DELETE FROM reports WHERE seq IN (SELECT value FROM json_each(?))"
_REPORTED = """
UPDATE executions SET reported_at = ? WHERE id IN (SELECT value FROM json_each(?))"""
_WAITING = """
SELECT seq, event, action, runs, plan, failure FROM executions WHERE seq IN (
    SELECT min(seq) FROM executions WHERE state <> 'finished'
        AND lane NOT IN (SELECT value FROM json_each(?)) GROUP BY lane)
ORDER BY plan IS NULL, seq LIMIT ?"""
# Without the hint SQLite walks through the whole history, by seq.
_COUNT_WAITING = """
SELECT count(*) FROM executions INDEXED BY executions_open
WHERE state <> 'finished' AND seq <= ? AND seq NOT IN (SELECT value FROM json_each(?))"""
_PLANNED = """
SELECT seq, event, action, runs, plan, failure FROM executions INDEXED BY executions_open
WHERE state <> 'finished' AND plan IS NOT NULL ORDER BY seq"""
_UNANNOUNCED = """
SELECT seq, event, action, runs, plan, failure FROM executions INDEXED BY executions_open
WHERE state <> 'finished' AND state = 'accepted' AND accepted_at < ? ORDER BY seq LIMIT ?"""
_UNSENT = """
SELECT seq, kind, execution, event, attempts, doubtful, created_at,
    (SELECT action FROM executions WHERE id = report.execution) FROM reports AS report
WHERE state = 'unsent' AND due_at <= ?
    AND (execution IS NULL OR execution NOT IN (SELECT value FROM json_each(?)))
    AND NOT EXISTS (SELECT 1 FROM reports AS earlier WHERE earlier.execution = report.execution
        AND earlier.seq < report.seq AND earlier.state = 'unsent')
ORDER BY due_at, seq LIMIT ?"""
_NEXT_DUE = """
SELECT count(*), min(due_at) FILTER (WHERE execution IS NULL
    OR execution NOT IN (SELECT value FROM json_each(?))) FROM reports
WHERE state = 'unsent' AND seq NOT IN (SELECT value FROM json_each(?))"""
# A `finished` that follows a refused `started` would never balance (contract §4.4): they go
# together. A log entry stands for itself.
_PARK = """
UPDATE reports SET state = 'parked', reason = ?, attempts = attempts + 1
WHERE seq = ? OR (execution = ? AND kind = 'finished' AND ? = 'started')"""
_POSTPONE = """
UPDATE reports SET attempts = ?, doubtful = ?, due_at = ?, reason = ? WHERE seq = ?"""
_PRUNE = """
DELETE FROM executions WHERE seq IN (
    SELECT seq FROM executions WHERE state = 'finished' AND finished_at < ?
        AND NOT EXISTS (SELECT 1 FROM reports WHERE execution = id AND reports.state = 'unsent')
    ORDER BY finished_at LIMIT ?)"""
_UNDELIVERED = "SELECT kind, state, attempts, due_at, reason FROM reports WHERE execution = ?"
_PRUNE_PARKED = "DELETE FROM reports WHERE state = 'parked' AND created_at < ?"
_DOUBT = "UPDATE reports SET doubtful = 1, due_at = max(due_at, ?) WHERE state = 'unsent'"
_IS_FINISHED = "SELECT 1 FROM executions WHERE id = ? AND state = 'finished'"
_REFUSED = """
SELECT execution FROM reports INDEXED BY reports_parked JOIN executions ON id = execution
WHERE reports.state = 'parked' AND kind = 'started' AND executions.state <> 'finished'"""
_REMEMBER = """
INSERT INTO memory (action, key, value) VALUES (?, ?, ?)
ON CONFLICT (action, key) DO UPDATE SET value = excluded.value"""
_SUMMARY = f"SELECT {', '.join(rows.RECORD)} FROM executions"  # noqa: S608  our own names
_WHOLE = f"SELECT {', '.join(rows.RECORD)}, details, plan, event FROM executions WHERE id = ?"  # noqa: S608


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
                _ACCEPT,
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
            (_OWE_STARTED, (*_owed(started, now), execution.seq)),
            (_BEGIN, (now, runs, execution.seq)),
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
        statements: list[Statement] = [(_FINISH, finish)]
        statements += [(_OWE_IF_CHANGED, _owed(report, now)) for report in reports]
        is_refused = execution.id in self._refused
        if is_refused:
            statements.append((_PARK_AFTER_STARTED, (execution.id,)))
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
                found = reader.execute(_WAITING, (busy_lanes, limit)).fetchall()
                waiting = reader.execute(_COUNT_WAITING, (upto, running_seqs)).fetchone()[0]
            finally:
                reader.execute("COMMIT")
            return rows.executions(found), waiting

        return await self._read(read)

    async def planned(self) -> list[Execution]:
        return rows.executions(await self._rows(_PLANNED, ()))

    async def unannounced(self, before: float, limit: int) -> list[Execution]:
        return rows.executions(await self._rows(_UNANNOUNCED, (before, limit)))

    async def unsent(self, now: float, limit: int, busy: Collection[str]) -> list[Unsent]:
        found = await self._rows(_UNSENT, (now, _json_list(busy), limit))
        return [rows.unsent(row) for row in found]

    async def next_due(
        self, known: Collection[int], busy: Collection[str]
    ) -> tuple[bool, float | None]:
        found = await self._rows(_NEXT_DUE, (_json_list(busy), _json_list(known)))
        return bool(found[0][0]), found[0][1]

    async def forget(self, delivered: Sequence[Unsent]) -> None:
        finished = [u.report.execution or "" for u in delivered if u.report.kind == "finished"]
        await self._write(
            (_FORGET, (_json_list([unsent.seq for unsent in delivered]),)),
            (_REPORTED, (self._now(), _json_list(finished))),
        )

    async def postpone(self, unsent: Unsent, due_at: float, reason: str) -> None:
        await self._write(
            (
                _POSTPONE,
                (unsent.attempts, unsent.doubtful, due_at, reason, unsent.seq),
            )
        )

    async def park(
        self, unsent: Unsent, reason: str, log_entry: Report | None = None
    ) -> Unsent | None:
        report, now = unsent.report, self._now()
        statements: list[Statement] = [
            (_PARK, (reason, unsent.seq, report.execution, report.kind)),
        ]
        if log_entry:
            statements.append((_OWE, _owed(log_entry, now)))
        if report.kind == "started" and report.execution:
            self._refused.add(report.execution)
        written = await self._write(*statements)
        if await self._rows(_IS_FINISHED, (report.execution,)):
            self._refused.discard(report.execution or "")
        return Unsent(written.last_row, log_entry, created_at=now) if log_entry else None

    async def owe(self, report: Report) -> Unsent:
        now = self._now()
        written = await self._write((_OWE, _owed(report, now)))
        return Unsent(written.last_row, report, created_at=now)

    async def recover(self, grace: float) -> None:
        await self._write((_DOUBT, (self._now() + grace,)))
        self._refused = {row[0] for row in await self._rows(_REFUSED, ())}

    async def recall(self, action: str, key: str) -> JSON:
        found = await self._rows(
            "SELECT value FROM memory WHERE action = ? AND key = ?", (action, key)
        )
        return orjson.loads(found[0][0]) if found else None

    async def remember(self, action: str, key: str, value: JSON) -> None:
        if value is None:
            await self._write(("DELETE FROM memory WHERE action = ? AND key = ?", (action, key)))
        else:
            await self._write((_REMEMBER, (action, key, orjson.dumps(value))))

    async def records(
        self, *, state: State | None = None, before: int | None = None, limit: int = 100
    ) -> list[Record]:
        sql = _SUMMARY
        if state in ("accepted", "started"):
            # What is open has an index of its own, and may lie far back in a long history.
            sql += " INDEXED BY executions_open WHERE state <> 'finished' AND "
        else:
            sql += " WHERE "
        sql += "seq < ? AND state = coalesce(?, state) ORDER BY seq DESC LIMIT ?"
        newest = 2**62 if before is None else before
        return [rows.record(row) for row in await self._rows(sql, (newest, state, limit))]

    async def records_after(self, after: int, limit: int) -> list[Record]:
        """Executions, oldest first, with a `seq` above `after`."""
        sql = f"{_SUMMARY} WHERE seq > ? ORDER BY seq LIMIT ?"
        return [rows.record(row) for row in await self._rows(sql, (after, limit))]

    async def record(self, execution_id: str) -> WholeRecord | None:
        def read(reader: sqlite3.Connection) -> WholeRecord | None:
            row = reader.execute(_WHOLE, (execution_id,)).fetchone()
            if row is None:
                return None
            return rows.whole_record(row, reader.execute(_UNDELIVERED, (execution_id,)).fetchall())

        return await self._read(read)

    async def backlog(self) -> Backlog:
        found = await self._rows(
            "SELECT (SELECT count(*) FROM executions WHERE state <> 'finished'),"
            " (SELECT count(*) FROM reports WHERE state = 'unsent'),"
            " (SELECT count(*) FROM reports WHERE state = 'parked')",
            (),
        )
        return Backlog(*found[0])

    async def prune(self, before: float, limit: int) -> int:
        written = await self._write((_PRUNE, (before, limit)), (_PRUNE_PARKED, (before,)))
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

    async def _rows(self, sql: str, bound: Sequence[Any]) -> list[Any]:
        return await self._read(lambda reader: reader.execute(sql, bound).fetchall())

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
