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
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson

from keptn_remedy.action import JSON, Outcome, Plan
from keptn_remedy.events import ActionTriggered, Report, stored_trigger
from keptn_remedy.journal import (
    Backlog,
    Execution,
    JournalError,
    JournalUnusable,
    Record,
    State,
    Undelivered,
    Unsent,
    lane,
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
_REPORTED = "UPDATE executions SET reported_at = ? WHERE id = ?"
_WAITING = """
SELECT seq, event, action, runs, plan, failure FROM executions WHERE seq IN (
    SELECT min(seq) FROM executions WHERE state <> 'finished'
        AND lane NOT IN (SELECT value FROM json_each(?)) GROUP BY lane)
ORDER BY seq LIMIT ?"""
_COUNT_WAITING = """
SELECT count(*) FROM executions
WHERE state <> 'finished' AND seq <= ? AND seq NOT IN (SELECT value FROM json_each(?))"""
_UNANNOUNCED = """
SELECT seq, event, action, runs, plan, failure FROM executions
WHERE state <> 'finished' AND state = 'accepted' AND accepted_at < ? ORDER BY seq LIMIT ?"""
_UNSENT = """
SELECT seq, kind, execution, event, attempts, doubtful, created_at FROM reports AS report
WHERE state = 'unsent' AND due_at <= ?
    AND (execution IS NULL OR execution NOT IN (SELECT value FROM json_each(?)))
    AND NOT EXISTS (SELECT 1 FROM reports AS earlier WHERE earlier.execution = report.execution
        AND earlier.seq < report.seq AND earlier.state = 'unsent')
ORDER BY due_at, seq LIMIT ?"""
_NEXT_DUE = """
SELECT min(due_at) FROM reports
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
_PRUNE_PARKED = "DELETE FROM reports WHERE state = 'parked' AND created_at < ?"
_REMEMBER = """
INSERT INTO memory (action, key, value) VALUES (?, ?, ?)
ON CONFLICT (action, key) DO UPDATE SET value = excluded.value"""
_RECORD = """
SELECT seq, id, state, action, context, project, stage, service, accepted_at, started_at,
    finished_at, reported_at, attempts, status, result, message, details, plan, event
FROM executions """


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
        self._any_parked = False

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
        return Unsent(written.last_row, started, created_at=now) if written.rows else None

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
        if self._any_parked:
            statements.append((_PARK_AFTER_STARTED, (execution.id,)))
        written = await self._write(*statements)
        if not written.rows or self._any_parked:
            return []  # what isn't parked is fetched by `unsent`
        last = written.last_row
        seqs = range(last - len(reports) + 1, last + 1)
        return [Unsent(s, r, created_at=now) for s, r in zip(seqs, reports, strict=True)]

    async def waiting(
        self, limit: int, *, busy: Collection[str], running: Collection[int], upto: int
    ) -> tuple[list[Execution], int]:
        # Written out here: in the reading thread the collections may have changed.
        busy_lanes, running_seqs = _json_list(busy), _json_list(running)

        def read(reader: sqlite3.Connection) -> tuple[list[Execution], int]:
            reader.execute("BEGIN")  # both of one moment
            try:
                rows = reader.execute(_WAITING, (busy_lanes, limit)).fetchall()
                waiting = reader.execute(_COUNT_WAITING, (upto, running_seqs)).fetchone()[0]
            finally:
                reader.execute("COMMIT")
            return [_execution(row) for row in rows], waiting

        return await self._read(read)

    async def unannounced(self, before: float, limit: int) -> list[Execution]:
        rows = await self._rows(_UNANNOUNCED, (before, limit))
        return [_execution(row) for row in rows]

    async def unsent(self, now: float, limit: int, busy: Collection[str]) -> list[Unsent]:
        rows = await self._rows(_UNSENT, (now, _json_list(busy), limit))
        return [_unsent(row) for row in rows]

    async def next_due(self, known: Collection[int]) -> float | None:
        rows = await self._rows(_NEXT_DUE, (_json_list(known),))
        due: float | None = rows[0][0]
        return due

    def sent(self, unsent: Unsent) -> asyncio.Future[Any]:
        statements: list[Statement] = [("DELETE FROM reports WHERE seq = ?", (unsent.seq,))]
        if unsent.report.kind == "finished":
            statements.append((_REPORTED, (self._now(), unsent.report.execution)))
        return self._writer.write(*statements)

    async def postpone(self, unsent: Unsent, due_at: float, reason: str) -> None:
        await self._write(
            (
                _POSTPONE,
                (unsent.attempts, unsent.doubtful, due_at, reason, unsent.seq),
            )
        )

    async def park(self, unsent: Unsent, reason: str) -> None:
        report = unsent.report
        self._any_parked = True
        await self._write((_PARK, (reason, unsent.seq, report.execution, report.kind)))

    async def owe(self, report: Report) -> Unsent:
        now = self._now()
        written = await self._write((_OWE, _owed(report, now)))
        return Unsent(written.last_row, report, created_at=now)

    async def recover(self, grace: float) -> int:
        due = self._now() + grace
        await self._write(
            (
                "UPDATE reports SET doubtful = 1, due_at = max(due_at, ?) WHERE state = 'unsent'",
                (due,),
            )
        )
        backlog = await self.backlog()
        self._any_parked = backlog.parked > 0
        return backlog.executions

    async def recall(self, action: str, key: str) -> JSON:
        rows = await self._rows(
            "SELECT value FROM memory WHERE action = ? AND key = ?", (action, key)
        )
        return orjson.loads(rows[0][0]) if rows else None

    async def remember(self, action: str, key: str, value: JSON) -> None:
        if value is None:
            await self._write(("DELETE FROM memory WHERE action = ? AND key = ?", (action, key)))
        else:
            await self._write((_REMEMBER, (action, key, orjson.dumps(value))))

    async def records(
        self, *, state: State | None = None, before: int | None = None, limit: int = 100
    ) -> list[Record]:
        conditions = ["seq < ?"] + (["state = ?"] if state else [])
        bound: list[Any] = [before if before is not None else 2**62] + ([state] if state else [])
        sql = f"{_RECORD} WHERE {' AND '.join(conditions)} ORDER BY seq DESC LIMIT ?"
        return await self._read(lambda reader: _records(reader, sql, (*bound, limit)))

    async def records_after(self, after: int, limit: int) -> list[Record]:
        """Executions, oldest first, with a `seq` above `after`."""
        sql = f"{_RECORD} WHERE seq > ? ORDER BY seq LIMIT ?"
        return await self._read(lambda reader: _records(reader, sql, (after, limit)))

    async def record(self, execution_id: str) -> Record | None:
        sql = f"{_RECORD} WHERE id = ?"
        found = await self._read(lambda reader: _records(reader, sql, (execution_id,)))
        return found[0] if found else None

    async def backlog(self) -> Backlog:
        rows = await self._rows(
            "SELECT (SELECT count(*) FROM executions WHERE state <> 'finished'),"
            " (SELECT count(*) FROM reports WHERE state = 'unsent'),"
            " (SELECT count(*) FROM reports WHERE state = 'parked')",
            (),
        )
        return Backlog(*rows[0])

    async def prune(self, before: float, limit: int) -> int:
        written = await self._write((_PRUNE, (before, limit)), (_PRUNE_PARKED, (before,)))
        rows: int = written.rows
        return rows

    async def probe(self) -> None:
        await self._write(("INSERT OR REPLACE INTO probes (id, at) VALUES (1, ?)", (self._now(),)))

    async def close(self) -> None:
        if self._writing:
            await self._writing.close()
        if self._reader:
            await asyncio.get_running_loop().run_in_executor(self._reading, self._reader.close)
        self._reading.shutdown()
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
        connection.execute("PRAGMA busy_timeout = 5000")
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


def _execution(row: Any) -> Execution:
    seq, event, action, runs, plan, failure = row
    return Execution(
        seq,
        stored_trigger(event),
        action,
        runs,
        Plan.from_json(plan) if plan else None,
        Outcome(**orjson.loads(failure)) if failure else None,
    )


def _unsent(row: Any) -> Unsent:
    seq, kind, execution, event, attempts, doubtful, created_at = row
    return Unsent(seq, Report(kind, execution, event), attempts, bool(doubtful), created_at)


def _records(reader: sqlite3.Connection, sql: str, bound: Sequence[Any]) -> list[Record]:
    return [_record(row, _undelivered(reader, row[1])) for row in reader.execute(sql, bound)]


def _undelivered(reader: sqlite3.Connection, execution_id: str) -> tuple[Undelivered, ...]:
    sql = "SELECT kind, state, attempts, due_at, reason FROM reports WHERE execution = ?"
    return tuple(
        Undelivered(kind, state, attempts, _moment(due_at), reason)
        for kind, state, attempts, due_at, reason in reader.execute(sql, (execution_id,))
    )


def _record(row: Any, undelivered: tuple[Undelivered, ...]) -> Record:
    accepted_at, started_at, finished_at, reported_at = row[8:12]
    attempts, status, result, message, details, plan, event = row[12:]
    seq, execution_id, state, action, context, project, stage, service = row[:8]
    return Record(
        seq,
        execution_id,
        state,
        action,
        context,
        project,
        stage,
        service,
        _moment(accepted_at),
        _maybe_moment(started_at),
        _maybe_moment(finished_at),
        _maybe_moment(reported_at),
        attempts,
        status,
        result,
        message,
        orjson.loads(details) if details else {},
        Plan.from_json(plan) if plan else None,
        undelivered,
        orjson.loads(event),
    )


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _maybe_moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else _moment(seconds)
