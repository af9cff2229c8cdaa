"""A whole journal copied from a file to a database, or back, while no service runs from either."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

from keptn_remedy.journal import rows
from keptn_remedy.journal.address import Address, Place
from keptn_remedy.journal.backup import Counts
from keptn_remedy.journal.errors import JournalUnusable, in_words
from keptn_remedy.journal.lock import Lock, connect, existing
from keptn_remedy.journal.schema import migrate, require_this_version

_COUNT = "SELECT count(*), count(CASE WHEN state <> 'finished' THEN 1 END) FROM executions"

# A counter, which is there from the start.
_NEVER_EMPTY = frozenset({"orders"})


class End(Protocol):
    """One side of a copy, in one transaction; nobody serves from it meanwhile."""

    def tables(self) -> frozenset[str]:
        """The names of its tables."""
        ...

    def columns(self, table: str) -> tuple[str, ...]:
        """The names of its columns."""
        ...

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        """All rows of a table."""
        ...

    def fill(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Replace what is in a table; returns how many rows are in it then."""
        ...

    def counts(self) -> Counts:
        """How many executions there are."""
        ...


def copy(source: Place, target: Place) -> Counts:
    """Copy a journal to a place where there is none, whole or not at all.

    Raises:
        JournalUnusable: a service runs from one of them, there is a journal in the target, or one
            of them can't be used.
    """
    if source == target:
        raise JournalUnusable(f"{source} is both the source and the target")
    if isinstance(source, Path):
        existing(source)
    with _end(source, is_target=False) as old, _end(target, is_target=True) as new:
        _require_nothing_in(new, target)
        for table in sorted(old.tables()):
            if table not in new.tables():
                _require_empty(old, table, target)
                continue
            wanted = new.columns(table)
            shared = [name for name in old.columns(table) if name in wanted]
            stored = new.fill(table, shared, old.rows(table, shared))
            if stored != sum(1 for _ in old.rows(table, shared[:1])):
                raise JournalUnusable(f"the copy of {table} is not whole: {target} is as it was")
        return new.counts()


def _require_nothing_in(new: End, target: Place) -> None:
    for table in sorted(new.tables() - _NEVER_EMPTY):
        for _ in new.rows(table, new.columns(table)[:1]):
            raise JournalUnusable(
                f"there is a journal in {target}, with rows in {table}: name an empty place"
            )


def _require_empty(old: End, table: str, target: Place) -> None:
    for _ in old.rows(table, old.columns(table)):
        raise JournalUnusable(f"{target} has no place for what the journal holds in {table}")


@contextmanager
def _end(place: Place, *, is_target: bool) -> Generator[End]:
    if isinstance(place, Address):
        from keptn_remedy.journal.postgres_copy import database_end

        with database_end(place, is_target=is_target) as database:
            yield database
    else:
        with _file_end(place, is_target=is_target) as file:
            yield file


@contextmanager
def _file_end(path: Path, *, is_target: bool) -> Generator[End]:
    try:
        if is_target:
            path.parent.mkdir(parents=True, exist_ok=True)
        lock = Lock.take(path)
        try:
            with closing(connect(path, "rw")) as connection:
                if is_target:
                    migrate(connection)
                require_this_version(connection)
                connection.execute("BEGIN IMMEDIATE")
                yield _File(connection)
                connection.execute("COMMIT")
        finally:
            lock.release()
    except sqlite3.Error as error:
        raise JournalUnusable(in_words(error, path)) from error


class _File:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def tables(self) -> frozenset[str]:
        found = self._connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'"
        )
        return frozenset(row[0] for row in found)

    def columns(self, table: str) -> tuple[str, ...]:
        found = self._connection.execute("SELECT name FROM pragma_table_info(?)", (table,))
        return tuple(row[0] for row in found)

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        return iter(self._connection.execute(f"SELECT {', '.join(columns)} FROM {table}"))  # noqa: S608

    def fill(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        self._connection.execute(f"DELETE FROM {table}")  # noqa: S608  our names, here and below
        places = ", ".join("?" for _ in columns)
        into = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({places})"  # noqa: S608
        self._connection.executemany(into, rows)
        count: int = self._connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
        return count

    def counts(self) -> Counts:
        return Counts(*self._connection.execute(_COUNT).fetchone())


def verdict_of(question: bytes | None) -> str | None:
    """What PostgreSQL keeps in a column of its own."""
    found = rows.question_of(question)
    return found.verdict if found else None
