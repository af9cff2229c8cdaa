"""One thread that writes, and commits many waiting changes with one fsync."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Thread
from time import perf_counter, sleep
from typing import Any, Protocol, TypeVar

from keptn_remedy.journal.errors import JournalError
from keptn_remedy.journal.store import Cursor, Statement, Store, Written

T = TypeVar("T")
MAX_BATCH = 1000
PACE_SECONDS, LOOK_SECONDS = 0.004, 0.0005
ENOUGH = 32


_NOTHING = Written(0, 0, 0)


class Connection(Protocol):
    """A connection to a database."""

    def rollback(self) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class Change:
    """What is carried out whole or not at all: statements, or work, or one of a kind that the
    database carries out many at once.
    """

    statements: tuple[Statement, ...]
    done: asyncio.Future[Any]
    work: Callable[[Cursor], Any] | None = None
    is_rehearsal: bool = False
    kind: str | None = None
    bound: Any = None
    result: Any = _NOTHING
    failure: str | None = None

    def carry_out(self, cursor: Cursor) -> None:
        """Do it, alone, in a transaction."""
        if self.work is not None:
            self.result = self.work(cursor)
            return
        if self.is_rehearsal:
            cursor.execute("SAVEPOINT rehearsal")
        self.result = carry_out(cursor, self.statements)
        if self.is_rehearsal:
            cursor.execute("ROLLBACK TO rehearsal")
            cursor.execute("RELEASE rehearsal")


def carry_out(cursor: Cursor, statements: Sequence[Statement]) -> Written:
    """Carry statements out, one after the other, in a transaction."""
    rows = first_row = None
    for sql, bound in statements:
        cursor.execute(sql, bound)
        if rows is None:
            rows, first_row = cursor.rowcount, cursor.lastrowid
    return Written(rows or 0, first_row or 0, cursor.lastrowid or 0)


def _commit(connection: sqlite3.Connection, batch: list[Change]) -> None:
    cursor = connection.cursor()
    cursor.execute("BEGIN IMMEDIATE")
    for change in batch:
        change.carry_out(cursor)
    cursor.execute("COMMIT")


def _spoils_all(error: type[Exception]) -> bool:
    return issubclass(error, sqlite3.OperationalError)


class GroupCommit:
    """Runs changes, each all or nothing, in the order they were asked for.

    `check` is called before each commit, and raises if there must be none. `in_words` makes the
    text of a JournalError from what was raised. `commit` carries changes out, whole or not at all;
    `spoils_all` says whether what it raised would hit each of them alone. `is_alive` says
    whether a connection that was not used for a while still can be; `was_sent_away`, that only the
    connection is at fault, and nothing was changed.
    """

    def __init__(
        self,
        connect: Callable[[], Any],
        on_commit: Callable[[float, int], None] = lambda seconds, changes: None,
        *,
        check: Callable[[], None] = lambda: None,
        in_words: Callable[[Exception], str] = str,
        commit: Callable[[Any, list[Change]], None] = _commit,
        spoils_all: Callable[[type[Exception]], bool] = _spoils_all,
        is_alive: Callable[[Any], bool] = lambda connection: True,
        was_sent_away: Callable[[type[Exception]], bool] = lambda error: False,
    ) -> None:
        self.failure: str | None = None
        self._unreported: str | None = None
        self._connect = connect
        self._on_commit = on_commit
        self._check = check
        self._in_words = in_words
        self._commit = commit
        self._spoils_all = spoils_all
        self._is_alive = is_alive
        self._was_sent_away = was_sent_away
        self._connection: Connection | None = None
        self._seconds = 0.0
        self._committed_at = 0.0
        self._loop = asyncio.get_running_loop()
        self._changes: SimpleQueue[Change | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name="journal-writer", daemon=True)
        self._closed = False
        self._thread.start()

    def write(self, *statements: Statement) -> asyncio.Future[Written]:
        """Ask for a change; the future is done when it is on disk, or fails with JournalError."""
        done: asyncio.Future[Written] = self._loop.create_future()
        return self._ask(Change(statements, done))

    def of_a_kind(self, kind: str, bound: Any) -> asyncio.Future[Any]:
        """Ask for a change of which the database may carry out many at once."""
        done: asyncio.Future[Any] = self._loop.create_future()
        return self._ask(Change((), done, kind=kind, bound=bound))

    def run(self, work: Callable[[Cursor], T]) -> asyncio.Future[T]:
        """Ask for a change that looks before it writes; the future is done with what it returns.

        `work` is called in the writing thread, in the transaction; when this fails, it is called
        again.
        """
        done: asyncio.Future[T] = self._loop.create_future()
        return self._ask(Change((), done, work))

    def rehearse(self, *statements: Statement) -> asyncio.Future[Written]:
        """Ask for a change that is taken back at once, to see whether it could be made."""
        done: asyncio.Future[Written] = self._loop.create_future()
        return self._ask(Change(statements, done, is_rehearsal=True))

    def _ask(self, change: Change) -> asyncio.Future[Any]:
        if self._closed:
            change.done.set_exception(JournalError("the journal is closed"))
        else:
            self._changes.put(change)
        return change.done

    def take_failure(self) -> str | None:
        """Why a write failed since this was asked last; later ones may have succeeded."""
        failure, self._unreported = self._unreported, None
        return failure

    async def close(self) -> None:
        """Write what was asked for, then stop."""
        if not self._closed:
            self._closed = True
            self._changes.put(None)
            await asyncio.to_thread(self._thread.join)

    def _work(self) -> None:
        while batch := self._next_batch():
            failure = self._committed(batch)
            if failure and self._was_sent_away(failure):
                failure = self._committed(batch)
            if failure and len(batch) > 1 and not self._spoils_all(failure):
                # One change that can't be stored must not take its neighbours along. (A full or
                # locked journal is nobody's fault, and would cost the time-out for each.)
                for change in batch:
                    self._committed([change])
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                self._loop.call_soon_threadsafe(self._settle, batch)
        self._discard()

    def _committed(self, batch: list[Change]) -> type[Exception] | None:
        began = perf_counter()
        try:
            self._check()
            if self._connection is not None and not self._is_alive(self._connection):
                self._discard()
            self._connection = self._connection or self._connect()
            self._commit(self._connection, batch)
        except Exception as error:  # noqa: BLE001  whatever it is, the thread must live
            # A fresh connection sees a volume that was remounted or has room again.
            self._discard()
            for change in batch:
                change.failure = self._in_words(error)
            return type(error)  # the error itself would keep the connection open
        for change in batch:
            change.failure = None
        self._committed_at = perf_counter()
        self._seconds = self._committed_at - began
        return None

    def _discard(self) -> None:
        if self._connection is not None:
            with suppress(Exception):
                # SQLite's closed connection keeps its lock while somebody has a cursor of it.
                self._connection.rollback()
            with suppress(Exception):
                self._connection.close()
            self._connection = None

    def _next_batch(self) -> list[Change]:
        first = self._changes.get()
        self._let_gather()
        batch: list[Change] = []
        with suppress(Empty):
            while first is not None:
                batch.append(first)
                if len(batch) == MAX_BATCH:
                    break
                first = self._changes.get_nowait()
        if first is None and batch:
            self._changes.put(None)
        return batch

    def _let_gather(self) -> None:
        """Commits in quick succession would be small ones, each with an fsync of its own."""
        until = self._committed_at + PACE_SECONDS
        while perf_counter() < until and self._changes.qsize() < ENOUGH:
            sleep(LOOK_SECONDS)

    def _settle(self, batch: list[Change]) -> None:
        self._note([change for change in batch if not change.is_rehearsal])
        for change in batch:
            if change.done.done():
                continue
            if change.failure is None:
                change.done.set_result(change.result)
            else:
                change.done.set_exception(JournalError(change.failure))

    def _note(self, changes: list[Change]) -> None:
        if not changes:
            return
        # A change that failed alone was at fault itself.
        failed = all(change.failure is not None for change in changes)
        self.failure = changes[-1].failure if failed else None
        self._unreported = self.failure or self._unreported
        if not failed:
            self._on_commit(self._seconds, len(changes))


class GroupCommitStore(Store):
    """A database that is written by one thread, unless it was opened for reading."""

    _writing: GroupCommit | None = None

    @property
    def _writer(self) -> GroupCommit:
        if self._writing is None:
            raise JournalError("the journal was opened for reading")
        return self._writing

    def _write(self, *statements: Statement) -> asyncio.Future[Written]:
        return self._writer.write(*statements)

    def _run(self, work: Callable[[Cursor], T]) -> asyncio.Future[T]:
        return self._writer.run(work)

    def _of_a_kind(self, kind: str, bound: Any) -> asyncio.Future[Any]:
        return self._writer.of_a_kind(kind, bound)

    def _rehearse(self, *statements: Statement) -> asyncio.Future[Written]:
        return self._writer.rehearse(*statements)
