"""The journal on PostgreSQL: who may open it, and how."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import psycopg

from keptn_remedy.journal.address import Address
from keptn_remedy.journal.ages import CLOCKS, SqlAges, recalled
from keptn_remedy.journal.effects import SqlEffects
from keptn_remedy.journal.episodes import SqlEpisodes
from keptn_remedy.journal.errors import JournalUnusable
from keptn_remedy.journal.executions import SqlExecutions
from keptn_remedy.journal.hearing import SqlHearing
from keptn_remedy.journal.memories import SqlMemories
from keptn_remedy.journal.notified import SqlNotifications
from keptn_remedy.journal.postgres_connection import IS_SERVED, PostgresConnection
from keptn_remedy.journal.postgres_replica import LEASE_SECONDS, Replica
from keptn_remedy.journal.postgres_schema import (
    migrate,
    require_still_usable,
    require_this_version,
)
from keptn_remedy.journal.postgres_store import PostgresStore
from keptn_remedy.journal.postgres_telling import TellingJournal
from keptn_remedy.journal.questions import SqlQuestions
from keptn_remedy.journal.records import SqlRecords
from keptn_remedy.journal.sql_failed_attempts import SqlFailedAttempts
from keptn_remedy.journal.sql_search import SqlSearch
from keptn_remedy.journal.store import Cursor
from keptn_remedy.journal.timers import SqlTimers
from keptn_remedy.journal.undos import SqlUndos
from keptn_remedy.support.clock import STEP_SECONDS, Gap, Reading

T = TypeVar("T")


class PostgresJournal(
    TellingJournal,
    SqlExecutions,
    SqlEffects,
    SqlQuestions,
    SqlHearing,
    SqlUndos,
    SqlMemories,
    SqlRecords,
    SqlSearch,
    SqlAges,
    SqlNotifications,
    SqlTimers,
    SqlEpisodes,
    SqlFailedAttempts,
    PostgresStore,
):
    """The journal in one database: `open` for serving, `beside` for a word to the services that may
    be running, `read_only` for looking.
    """

    _opened_ahead = 0.0

    def __init__(
        self, address: Address, *, lease_seconds: float = LEASE_SECONDS, **options: Any
    ) -> None:
        super().__init__(address, **options)
        self._lease_seconds = lease_seconds

    @classmethod
    def open(cls, address: Address, **options: Any) -> PostgresJournal:
        """Open the database for serving, making or migrating its tables.

        Raises:
            JournalUnusable: it can't be opened, is newer than we are, or promises too little.
        """
        journal = cls(address, **options)
        journal._server.note_newest_timeline()
        journal._use_tables(migrate, may_take_time=True)
        journal._opened_ahead = journal._server.clock_ahead
        journal._locked_at = journal._now()
        journal._lease_at_once()
        journal._begin_writing()
        return journal

    @classmethod
    def beside(cls, address: Address, **options: Any) -> PostgresJournal:
        """Open the database for writing beside services that may be running; its tables are neither
        made nor changed.

        Raises:
            JournalUnusable: there is no journal, it can't be opened, or has another version.
        """
        journal = cls(address, **options)
        journal._use_tables(require_this_version)
        if "now" not in options:
            ahead = journal._server.clock_ahead
            journal._now = lambda: time.time() + ahead
        journal._begin_writing()
        return journal

    @classmethod
    def read_only(cls, address: Address, **options: Any) -> PostgresJournal:
        """Open the database beside running services, for reading alone.

        Raises:
            JournalUnusable: there is no journal, or it can't be opened.
        """
        journal = cls(address, **options)
        journal._use_tables(require_this_version)
        return journal

    @property
    def clock_ahead(self) -> float:
        return self._opened_ahead

    def _gap(self, cursor: Cursor, reading: Reading) -> Gap:
        # Whoever serves goes by the server's clock, which is believed; unless it goes back.
        stored = recalled(cursor, CLOCKS)
        back = min(0.0, reading.now - Reading(*stored).now) if stored else 0.0
        return Gap(ahead=back, step=back) if back <= -STEP_SECONDS else Gap()

    async def close(self) -> None:
        if self._writing:
            await self._writing.close()
        if self._replica:
            await asyncio.to_thread(self._replica.end)
        await super().close()

    def _lease_at_once(self) -> None:
        replica = Replica(self._server, now=self._now, lease_seconds=self._lease_seconds)
        try:
            replica.begin()
        except psycopg.Error as error:
            raise JournalUnusable(f"can't use the journal {self._in_words(error)}") from error
        self._lease_by(replica)

    def is_served(self) -> bool:
        found = self._use_once(lambda connection: connection.execute(IS_SERVED).fetchone())
        return bool(found[0])

    def _use_tables(
        self, use: Callable[[psycopg.Connection[Any]], int], *, may_take_time: bool = False
    ) -> None:
        """Make the tables, or see that they are there; and that they still are at each reconnect.

        Raises:
            JournalUnusable: they can't be used.
        """
        ours = self._use_once(lambda connection: use(connection.raw), may_take_time=may_take_time)
        self._server.check_tables(lambda raw: require_still_usable(raw, ours))

    def _use_once(
        self, use: Callable[[PostgresConnection], T], *, may_take_time: bool = False
    ) -> T:
        try:
            connection = self._connect()
            try:
                with nullcontext() if may_take_time else connection.at_work():
                    return use(connection)
            finally:
                self._server.close(connection)
        except psycopg.Error as error:
            raise JournalUnusable(f"can't use the journal {self._in_words(error)}") from error
