"""Where a journal of the tests is kept: in a file, or in a real PostgreSQL."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest

from keptn_remedy.journal.address import Address
from keptn_remedy.journal.postgres import PostgresJournal
from keptn_remedy.journal.postgres_dialect import translated
from keptn_remedy.journal.postgres_schema import TABLES
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.postgres_server import PostgresServer

AnyJournal = SqliteJournal | PostgresJournal


class Place(Protocol):
    """One journal, opened in each of the ways."""

    @property
    def address(self) -> Path | Address:
        """Where it is."""
        ...

    def open(self, **options: Any) -> AnyJournal: ...

    def beside(self, **options: Any) -> AnyJournal: ...

    def read_only(self) -> AnyJournal: ...

    def change(self, statement: str, bound: Sequence[Any] = ()) -> None:
        """Change what is stored behind the journal's back, in SQLite's SQL."""
        ...

    def look(self, statement: str, bound: Sequence[Any] = ()) -> list[Any]:
        """The rows that are stored."""
        ...


class SqlitePlace:
    """A file, which is made by the first `open`."""

    def __init__(self, path: Path, now: Callable[[], float]) -> None:
        self.path = self.address = path
        self._options = {"now": now}

    def open(self, **options: Any) -> SqliteJournal:
        return SqliteJournal.open(self.path, **{**self._options, **options})

    def beside(self, **options: Any) -> SqliteJournal:
        return SqliteJournal.beside(self.path, **{**self._options, **options})

    def read_only(self) -> SqliteJournal:
        return SqliteJournal.read_only(self.path)

    def change(self, statement: str, bound: Sequence[Any] = ()) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.execute(statement, bound)

    def look(self, statement: str, bound: Sequence[Any] = ()) -> list[Any]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(statement, bound).fetchall()


class PostgresPlace:
    """One database for all tests of a server: making one for each would take longer than they do.
    It is emptied at first.
    """

    def __init__(self, server: PostgresServer, now: Callable[[], float]) -> None:
        self.server = server
        self.url = server.url()
        self.address = Address(self.url)
        self._options = {"now": now}
        self._empty()

    def open(self, **options: Any) -> PostgresJournal:
        return PostgresJournal.open(Address(self.url), **{**self._options, **options})

    def beside(self, **options: Any) -> PostgresJournal:
        return PostgresJournal.beside(Address(self.url), **{**self._options, **options})

    def read_only(self) -> PostgresJournal:
        return PostgresJournal.read_only(Address(self.url))

    def change(self, statement: str, bound: Sequence[Any] = ()) -> None:
        said = translated(statement)
        with psycopg.connect(self.url, autocommit=True) as connection:
            psycopg.RawCursor(connection).execute(said.text.encode(), said.bound(bound))

    def look(self, statement: str, bound: Sequence[Any] = ()) -> list[Any]:
        said = translated(statement)
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = psycopg.RawCursor(connection)
            return cursor.execute(said.text.encode(), said.bound(bound)).fetchall()

    def _empty(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            if connection.execute("SELECT to_regclass('journal_version')").fetchone() == (None,):
                return
            kept = {"orders", "journal_version"}
            empty = [f"DELETE FROM {name}" for name in TABLES if name not in kept]  # noqa: S608
            count_anew = [
                f"ALTER SEQUENCE {name} RESTART"
                for name in ("executions_seq_seq", "reports_seq_seq", "replicas_no_seq")
            ]
            anew = "UPDATE orders SET given = 0, heard = 0"
            connection.execute("; ".join([*empty, *count_anew, anew]).encode())


in_sqlite = pytest.mark.parametrize("place", ["sqlite"], indirect=True)
"""For a test that asks SQLite itself, or is about its file."""
