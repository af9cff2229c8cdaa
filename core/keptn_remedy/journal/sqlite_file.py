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

from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.errors import JournalError, in_words
from keptn_remedy.journal.group_commit import GroupCommit, GroupCommitStore
from keptn_remedy.journal.lock import Lock, connect
from keptn_remedy.journal.store import Bound, Reader, Statement, Stored
from keptn_remedy.journal.values import Execution

T = TypeVar("T")


class SqliteFile(GroupCommitStore):
    """One file: a connection for reading, and once it was opened for serving, one for writing."""

    trouble = (sqlite3.Error,)

    def __init__(
        self,
        path: Path,
        *,
        now: Callable[[], float] = time.time,
        on_commit: Callable[[float, int], None] = lambda seconds, changes: None,
    ) -> None:
        super().__init__()
        self._path = path
        self._lock: Lock | None = None
        self._now = now
        self._on_commit = on_commit
        self._reading = ThreadPoolExecutor(1, "journal-reader")
        self._reader: sqlite3.Connection | None = None
        self._writing: GroupCommit | None = None

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

    async def _insert(
        self, accepted: Mapping[str, Any], started: Mapping[str, Any] | None
    ) -> Stored:
        if started is None:
            written = await self._write((sql.ACCEPT, accepted))
        else:
            owe = sql.OWE_IF_CHANGED, started
            written = await self._write((sql.ACCEPT_BEGUN, accepted), owe)
        return Stored(written.first_row, written.last_row) if written.rows else Stored()

    async def _mark_begun(self, begin: Mapping[str, Any], started: Mapping[str, Any] | None) -> int:
        if started is None:
            await self._write((sql.BEGIN, begin))
            return 0
        owe = sql.OWE_STARTED, {**started, "seq": begin["seq"]}
        written = await self._write(owe, (sql.BEGIN, begin))
        return written.last_row if written.rows else 0

    async def _mark_finished(
        self,
        end: Mapping[str, Any],
        reports: Sequence[Mapping[str, Any]],
        consequences: Sequence[Statement],
    ) -> list[int] | None:
        owe = [(sql.OWE_IF_CHANGED, report) for report in reports]
        written = await self._write((sql.FINISH, end), *owe, *consequences)
        last = written.last_row
        return [*range(last - len(reports) + 1, last + 1)] if written.rows else None

    async def _mark_told(self, reports: Sequence[int], finished: Sequence[str], now: float) -> None:
        await self._write(
            (sql.FORGET, (json_list(reports),)), (sql.REPORTED, (now, json_list(finished)))
        )

    @staticmethod
    def _list(values: Collection[str] | Collection[int]) -> str:
        return json_list(values)

    def _connect(self) -> sqlite3.Connection:
        """A connection for writing: each commit survives a power cut (synchronous=FULL)."""
        connection = connect(self._path, "rw")  # a file that has gone is not made again
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA busy_timeout = 1000")
        connection.execute("PRAGMA journal_size_limit = 67108864")
        return connection

    async def _executions(self, look: str, bound: Bound) -> list[Execution]:
        def read(reader: Reader) -> list[Execution]:
            return rows.executions(reader.execute(look, bound), self._find)

        return await self._read(read)

    def _event(self, execution_id: str) -> bytes:
        # A connection of its own: it is asked for in the middle of an action's code.
        try:
            with closing(connect(self._path, "ro")) as connection:
                found = connection.execute(sql.TRIGGER, (execution_id,)).fetchone()
        except sqlite3.Error as error:
            raise JournalError(f"the event can't be read: {error}") from error
        if found is None:
            raise JournalError("the event is not in the journal any more")
        return bytes(found[0])

    async def _read(self, read: Callable[[Reader], T]) -> T:
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

    async def _read_at_once(self, read: Callable[[Reader], T]) -> T:
        def read_in_transaction(reader: Reader) -> T:
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


def json_list(values: Collection[str] | Collection[int]) -> str:
    """What a statement with `json_each` binds."""
    return orjson.dumps(list(values)).decode()
