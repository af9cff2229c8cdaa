"""How the journal on PostgreSQL reads, in a thread of its own, and writes, by the group commit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar, cast

import psycopg

from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.address import Address
from keptn_remedy.journal.errors import JournalError, JournalUnusable
from keptn_remedy.journal.group_commit import GroupCommit, GroupCommitStore
from keptn_remedy.journal.postgres_changes import Finish, Tell, commit
from keptn_remedy.journal.postgres_connection import (
    PostgresConnection,
    Server,
    in_words,
    spoils_all,
    was_sent_away,
)
from keptn_remedy.journal.postgres_targets import RELEASE
from keptn_remedy.journal.store import Bound, Cursor, Reader, Statement, Stored
from keptn_remedy.journal.values import Execution

T = TypeVar("T")


class PostgresStore(GroupCommitStore):
    """One database: a connection for reading, and once it was opened for writing, one for that."""

    trouble = (psycopg.Error,)

    def __init__(
        self,
        address: Address,
        *,
        now: Callable[[], float] = time.time,
        on_commit: Callable[[float, int], None] = lambda seconds, changes: None,
    ) -> None:
        super().__init__()
        self._server = Server(address)
        self._now = now
        self._on_commit = on_commit
        self._reading = ThreadPoolExecutor(1, "journal-reader")
        self._reader: PostgresConnection | None = None
        self._writing: GroupCommit | None = None

    @property
    def failure(self) -> str | None:
        return (self._writing.failure if self._writing else None) or self._unacceptable

    def take_failure(self) -> str | None:
        return self._writer.take_failure()

    async def close(self) -> None:
        """Store what is under way and let go of the database."""
        await asyncio.get_running_loop().run_in_executor(self._reading, self._forget_reader)
        self._reading.shutdown()
        if self._writing:
            await self._writing.close()
        self._server.end()

    def _begin_writing(self) -> None:
        self._writing = GroupCommit(
            self._connect,
            self._on_commit,
            is_alive=self._is_current,
            in_words=self._in_words,
            commit=commit,
            spoils_all=spoils_all,
            was_sent_away=was_sent_away,
        )

    def _connect(self) -> PostgresConnection:
        return self._server.connect(replica=self._number)

    def _is_current(self, connection: PostgresConnection) -> bool:
        return connection.is_usable and connection.replica == self._number

    @property
    def _number(self) -> int:
        """The number of this replica; 0: it doesn't serve."""
        return 0

    def _in_words(self, error: Exception) -> str:
        return in_words(error, self._server.address)

    async def _insert(
        self, accepted: Mapping[str, Any], started: Mapping[str, Any] | None
    ) -> Stored:
        number = self._number
        stored: Stored = await self._writer.of_a_kind("insert", (accepted, started))
        # Under the number of a lease that was lost meanwhile it is whoever's that takes it up.
        return stored if number == self._number else stored._replace(is_owned=False)

    async def _mark_begun(self, begin: Mapping[str, Any], started: Mapping[str, Any] | None) -> int:
        row: int = await self._writer.of_a_kind("begin", (begin, started))
        return row

    async def _mark_finished(
        self,
        end: Mapping[str, Any],
        reports: Sequence[Mapping[str, Any]],
        consequences: Sequence[Statement],
    ) -> list[int] | None:
        (first, bound), *others = consequences
        if others or first not in (sql.END_EFFECTS, sql.DROP_EFFECTS):
            return await self._run(lambda cursor: _finish(cursor, end, reports, consequences))
        judged = dict(bound).get("judged")
        rows: list[int] | None = await self._writer.of_a_kind(
            "finish", Finish(end, reports, judged)
        )
        return rows

    async def _mark_told(self, reports: Sequence[int], finished: Sequence[str], now: float) -> None:
        await self._writer.of_a_kind("tell", Tell(reports, finished, now))

    @staticmethod
    def _list(values: Collection[str] | Collection[int]) -> list[str] | list[int]:
        return list(values)  # type: ignore[return-value]  # all are of one kind

    async def _executions(self, look: str, bound: Bound) -> list[Execution]:
        def read(reader: Reader) -> list[Execution]:
            return rows.executions(reader.execute(look, bound), self._find)

        return await self._read(read)

    def _event(self, execution_id: str) -> bytes:
        def read(reader: Reader) -> Any:
            return reader.execute(sql.TRIGGER, (execution_id,)).fetchone()

        # The caller is some action's code, in whatever thread: it waits for the reading one.
        found = self._reading.submit(self._attempt, read).result()
        if found is None:
            raise JournalError("the event is not in the journal any more")
        return bytes(found[0])

    async def _read(self, read: Callable[[Reader], T]) -> T:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reading, self._attempt, read)

    def _attempt(self, read: Callable[[Reader], T], *, is_second: bool = False) -> T:
        try:
            if self._reader is not None and not self._is_current(self._reader):
                self._forget_reader()
            if self._reader is None:
                self._reader = self._connect()
            with self._reader.at_work(), self._reader.as_replica():
                return read(self._reader)
        except (psycopg.Error, JournalUnusable) as error:
            self._forget_reader()
            if was_sent_away(type(error)) and not is_second:
                return self._attempt(read, is_second=True)
            raise JournalError(self._in_words(error)) from error

    async def _read_at_once(self, read: Callable[[Reader], T]) -> T:
        def read_in_transaction(reader: Reader) -> T:
            with cast("PostgresConnection", reader).at_one_moment():
                return read(reader)

        return await self._read(read_in_transaction)

    def _forget_reader(self) -> None:
        if self._reader is not None:
            with suppress(psycopg.Error):
                self._server.close(self._reader)
            self._reader = None


def _finish(
    cursor: Cursor,
    end: Mapping[str, Any],
    reports: Sequence[Mapping[str, Any]],
    consequences: Sequence[Statement],
) -> list[int] | None:
    if not cursor.execute(sql.FINISH, end).rowcount:
        return None
    handles = [cursor.execute(sql.OWE, report).lastrowid or 0 for report in reports]
    cursor.execute(RELEASE, (end["seq"],))
    for statement, bound in consequences:
        if statement != sql.ARM or _has_changes(cursor, end["seq"]):
            cursor.execute(statement, bound)
    return handles


def _has_changes(cursor: Cursor, seq: int) -> bool:
    row = cursor.execute("SELECT plan FROM executions WHERE seq = ?", (seq,)).fetchone()
    plan = rows.plan_of(row[0])
    return bool(plan and plan.changes)
