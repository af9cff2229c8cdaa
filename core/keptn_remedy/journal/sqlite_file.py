"""How the SQLite journal reads, in a thread of its own, and writes, through the group commit."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

import orjson

from keptn_remedy.events import Report
from keptn_remedy.journal import rows
from keptn_remedy.journal.errors import JournalError, in_words
from keptn_remedy.journal.group_commit import GroupCommit, Statement, Written
from keptn_remedy.journal.lock import Lock, connect
from keptn_remedy.journal.statements import TRIGGER
from keptn_remedy.journal.values import Execution

T = TypeVar("T")


class SqliteFile:
    """One file: a connection for reading, and once it was opened for serving, one for writing."""

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        on_commit: Callable[[float, int], None] = lambda seconds, changes: None,
    ) -> None:
        self._path = path
        self._lock: Lock | None = None
        # When this process became the only one that serves from the file.
        self._locked_at: float | None = None
        self._now = now
        self._on_commit = on_commit
        self._reading = ThreadPoolExecutor(1, "journal-reader")
        self._reader: sqlite3.Connection | None = None
        self._writing: GroupCommit | None = None
        self._find = self._event  # one object for all triggers
        # Why the next event could not be stored.
        self._unacceptable: str | None = None

    @property
    def failure(self) -> str | None:
        return (self._writing.failure if self._writing else None) or self._unacceptable

    def take_failure(self) -> str | None:
        return self._writer.take_failure()

    async def close(self) -> None:
        """Store what is under way and let go of the file."""
        await asyncio.get_running_loop().run_in_executor(self._reading, self._forget_reader)
        self._reading.shutdown()
        if self._writing:
            await self._writing.close()
        if self._lock:
            self._lock.release()

    def _begin_writing(self) -> None:
        self._writing = GroupCommit(
            self._connect, self._on_commit, check=self._check, in_words=self._in_words
        )

    def _in_words(self, error: Exception) -> str:
        return in_words(error, self._path)

    def _check(self) -> None:
        """See that the path still names the file that is served."""
        if self._lock:
            self._lock.check()

    @property
    def _writer(self) -> GroupCommit:
        if self._writing is None:
            raise JournalError("the journal was opened for reading")
        return self._writing

    def _write(self, *statements: Statement) -> asyncio.Future[Written]:
        return self._writer.write(*statements)

    def _run(self, work: Callable[[sqlite3.Cursor], T]) -> asyncio.Future[T]:
        return self._writer.run(work)

    def _connect(self) -> sqlite3.Connection:
        """A connection for writing: each commit survives a power cut (synchronous=FULL)."""
        connection = connect(self._path, "rw")  # a file that has gone is not made again
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA busy_timeout = 1000")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        return connection

    async def _rows(self, look: str, bound: Sequence[Any] | Mapping[str, Any]) -> list[Any]:
        return await self._read(lambda reader: reader.execute(look, bound).fetchall())

    async def _executions(
        self, look: str, bound: Sequence[Any] | Mapping[str, Any]
    ) -> list[Execution]:
        """The executions of these rows, without their bodies."""

        def read(reader: sqlite3.Connection) -> list[Execution]:
            return rows.executions(reader.execute(look, bound), self._find)

        return await self._read(read)

    def _event(self, execution_id: str) -> bytes:
        """The event of an execution. It has a connection of its own, since it is asked for in the
        middle of an action's code, in whatever thread that is.
        """
        try:
            with closing(connect(self._path, "ro")) as connection:
                found = connection.execute(TRIGGER, (execution_id,)).fetchone()
        except sqlite3.Error as error:
            raise JournalError(f"the event can't be read: {error}") from error
        if found is None:
            raise JournalError("the event is not in the journal any more")
        return bytes(found[0])

    async def _read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        def attempt() -> T:
            try:
                if self._reader is None:
                    self._check()
                    self._reader = connect(self._path, "ro")
                return read(self._reader)
            except sqlite3.Error as error:
                self._forget_reader()
                raise JournalError(self._in_words(error)) from error

        return await asyncio.get_running_loop().run_in_executor(self._reading, attempt)

    async def _read_at_once(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """As `_read`, with all that is read from one moment."""

        def read_in_transaction(reader: sqlite3.Connection) -> T:
            reader.execute("BEGIN")
            try:
                return read(reader)
            finally:
                reader.execute("COMMIT")

        return await self._read(read_in_transaction)

    def _forget_reader(self) -> None:
        if self._reader is not None:
            with suppress(sqlite3.Error):
                self._reader.close()
            self._reader = None


def owed(report: Report, now: float) -> dict[str, Any]:
    """What a statement that stores a report binds."""
    return {
        "execution": report.execution,
        "kind": report.kind,
        "event": report.body,
        "now": now,
    }


def json_list(values: Collection[str] | Collection[int]) -> str:
    """What a statement with `json_each` binds."""
    return orjson.dumps(list(values)).decode()
