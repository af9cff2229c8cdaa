"""The side of a copy that is a database."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import sql

from keptn_remedy.journal.address import Address
from keptn_remedy.journal.backup import Counts
from keptn_remedy.journal.copying import verdict_of
from keptn_remedy.journal.errors import JournalUnusable
from keptn_remedy.journal.postgres_connection import IS_SERVED, Server, in_words, without_nul
from keptn_remedy.journal.postgres_schema import OF_SEVERAL, TABLES, migrate, require_this_version

_COLUMNS = """
SELECT column_name, data_type = 'boolean' FROM information_schema.columns
WHERE table_name = $1 AND table_schema = current_schema() ORDER BY ordinal_position"""
_COUNT = "SELECT count(*), count(*) FILTER (WHERE state <> 'finished') FROM executions"


@contextmanager
def database_end(address: Address, *, is_target: bool) -> Generator[Database]:
    """The journal of a database, in a transaction that is kept if all goes well.

    Raises:
        JournalUnusable: a service runs from it, or it can't be used.
    """
    server = Server(address)
    try:
        connection = server.connect()
        try:
            raw = connection.raw
            if is_target:
                migrate(raw)
            require_this_version(raw)
            raw.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            # The other side may take its time.
            raw.execute("SET LOCAL statement_timeout = 0")
            raw.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            # None can start meanwhile. Locked before the first look, which sees what came before.
            raw.execute("LOCK TABLE replicas IN SHARE MODE")
            if raw.execute(IS_SERVED).fetchone() != (False,):
                raise JournalUnusable(f"a service runs from the journal {address}: stop it first")
            yield Database(raw)
            raw.execute("COMMIT")
        finally:
            server.close(connection)
    except psycopg.Error as error:
        raise JournalUnusable(in_words(error, address)) from error
    finally:
        server.end()


class Database:
    """A `copying.End`."""

    def __init__(self, raw: psycopg.Connection[Any]) -> None:
        self._raw = raw

    def tables(self) -> frozenset[str]:
        return frozenset(TABLES) - OF_SEVERAL

    def columns(self, table: str) -> tuple[str, ...]:
        return tuple(self._types(table))

    def rows(self, table: str, columns: Sequence[str]) -> Iterator[Sequence[Any]]:
        look = sql.SQL("SELECT {} FROM {}").format(_names(columns), sql.Identifier(table))
        return psycopg.RawCursor(self._raw).stream(look)

    def fill(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        name, types = sql.Identifier(table), self._types(table)
        self._raw.execute(sql.SQL("DELETE FROM {}").format(name))
        asks = columns.index("question") if "question" in columns else None
        into = [*columns, "verdict"] if asks is not None and "verdict" not in columns else columns
        copy = sql.SQL("COPY {} ({}) FROM STDIN").format(name, _names(into))
        with self._raw.cursor().copy(copy) as copying:
            for row in rows:
                typed = [
                    bool(value) if types[column] else without_nul(value)
                    for column, value in zip(columns, row, strict=True)
                ]
                if len(into) > len(columns) and asks is not None:
                    typed.append(verdict_of(row[asks]))
                copying.write_row(typed)
        if "seq" in types:
            self._raw.execute(
                sql.SQL(
                    "SELECT setval(pg_get_serial_sequence($1, 'seq'),"
                    " (SELECT coalesce(max(seq), 0) + 1 FROM {}), false)"
                ).format(name),
                (table,),
            )
        found = self._raw.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchall()
        return int(found[0][0])

    def counts(self) -> Counts:
        [found] = self._raw.execute(_COUNT).fetchall()
        return Counts(*found)

    def _types(self, table: str) -> dict[str, bool]:
        """Its columns, and whether they are true or false."""
        return dict(self._raw.execute(_COLUMNS, (table,)).fetchall())


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))
