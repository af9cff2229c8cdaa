"""Connections to PostgreSQL: what the server must promise, and who ends a call that hangs."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from typing import Any, cast

import psycopg
from psycopg.types.numeric import Int8Dumper

from keptn_remedy.journal.address import Address
from keptn_remedy.journal.errors import JournalError, JournalUnusable
from keptn_remedy.journal.postgres_address import hosts
from keptn_remedy.journal.postgres_dialect import translated
from keptn_remedy.journal.postgres_owner import AS_REPLICA
from keptn_remedy.journal.store import Bound

OLDEST_VERSION = 15
LOCK_SECONDS, STATEMENT_SECONDS = 5, 10
# Longer than any statement may take: the server, or the way to it, is frozen.
FROZEN_SECONDS, LOOK_SECONDS = 15.0, 1.0
# A plan that is made while a table is short is kept when it has become long: none walks through it.
_SETTINGS = f"""
SET statement_timeout = '{STATEMENT_SECONDS}s'; SET lock_timeout = '{LOCK_SECONDS}s';
SET idle_in_transaction_session_timeout = '{STATEMENT_SECONDS}s';
SET default_transaction_isolation = 'read committed'; SET jit = off;
SET enable_seqscan = off"""
_PROMISES = """
SELECT current_setting('server_version_num')::int / 10000, current_setting('synchronous_commit'),
    current_setting('synchronous_standby_names') <> '',
    pg_is_in_recovery() OR current_setting('transaction_read_only')::bool, pg_backend_pid(),
    extract(epoch FROM clock_timestamp())::float8"""
_TIMELINE = """
SELECT ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::bigint"""
IS_SERVED = """
SELECT EXISTS (SELECT 1 FROM replicas
    WHERE NOT ended AND until > extract(epoch FROM clock_timestamp()))"""
OF_ONE_MOMENT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
# What the server says about a change, and not about itself: data, constraints, and limits.
_OF_A_CHANGE = ("22", "23", "54")


class PostgresCursor:
    """A `store.Cursor`, which translates what it executes."""

    __slots__ = ("_cursor", "_inserted")

    def __init__(self, cursor: psycopg.RawCursor[Any]) -> None:
        self._cursor = cursor
        self._inserted: int | None = None

    @property
    def rowcount(self) -> int:
        return self._cursor.rowcount

    @property
    def lastrowid(self) -> int | None:
        return self._inserted

    def execute(self, statement: str, bound: Bound = (), /) -> PostgresCursor:
        said = translated(statement)
        execute(self._cursor, said.text, said.bound(bound))
        if said.returns_seq and (row := self._cursor.fetchone()):
            self._inserted = row[0]
        return self

    def fetchone(self) -> Any:
        return self._cursor.fetchone()

    def fetchall(self) -> list[Any]:
        return self._cursor.fetchall()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)


def execute(cursor: psycopg.RawCursor[Any], statement: str, bound: Sequence[Any]) -> None:
    """Execute it. PostgreSQL's text holds no NUL: another mark stands for it."""
    try:
        cursor.execute(statement.encode(), bound)
    except psycopg.DataError as error:
        if error.sqlstate is not None:
            raise
        cursor.execute(statement.encode(), [without_nul(value) for value in bound])


def without_nul(value: Any) -> Any:
    """A value that PostgreSQL can store."""
    if isinstance(value, list):
        return [without_nul(each) for each in cast("Iterable[Any]", value)]
    return value.replace("\0", "\N{REPLACEMENT CHARACTER}") if isinstance(value, str) else value


class PostgresConnection:
    """One connection, used by one thread at a time; another may cut it off."""

    def __init__(self, raw: psycopg.Connection[Any], *, is_pooled: bool) -> None:
        self.raw = raw
        self.is_pooled = is_pooled
        self.replica = 0
        # A socket that is closed by one thread must not be another's by the time it is cut.
        self._socket = socket.fromfd(raw.fileno(), socket.AF_UNIX, socket.SOCK_STREAM)
        self._since: float | None = None

    def cursor(self) -> PostgresCursor:
        return PostgresCursor(self.raw_cursor())

    def raw_cursor(self) -> psycopg.RawCursor[Any]:
        """A cursor of psycopg's, for PostgreSQL's own SQL."""
        return psycopg.RawCursor(self.raw)

    def execute(self, statement: str, bound: Bound = (), /) -> PostgresCursor:
        return self.cursor().execute(statement, bound)

    @contextmanager
    def at_work(self) -> Generator[None]:
        """While the server is asked: for so long only, then the watchdog cuts the connection."""
        self._since = time.monotonic()
        try:
            yield
        finally:
            self._since = None

    @property
    def is_usable(self) -> bool:
        """Whether it was alive a moment ago: one that the server closed can be read from."""
        if self.raw.closed:
            return False
        poll = select.poll()
        poll.register(self.raw.fileno(), select.POLLIN)
        return not poll.poll(0)

    def be(self, replica: int) -> None:
        """Act as the replica of that number; 0: as none."""
        self.replica = replica
        if replica and not self.is_pooled:
            with self.at_work():
                self.raw.execute(AS_REPLICA, (str(replica), False))

    @contextmanager
    def as_replica(self) -> Generator[None]:
        """While something is read: behind a pooler, the session is another one each time."""
        if not (self.replica and self.is_pooled):
            yield
            return
        self.raw.execute(OF_ONE_MOMENT)
        try:
            self.raw.execute(AS_REPLICA, (str(self.replica), True))
            yield
        finally:
            if not self.raw.closed:
                self.raw.execute("ROLLBACK")

    @contextmanager
    def at_one_moment(self) -> Generator[None]:
        """While several reads are to see the same."""
        if self.raw.info.transaction_status != IDLE:  # of `as_replica`
            yield
            return
        self.raw.execute(OF_ONE_MOMENT)
        try:
            yield
        finally:
            self.raw.execute("COMMIT")

    def cut_if_frozen(self) -> None:
        since = self._since
        if since is not None and time.monotonic() - since > FROZEN_SECONDS:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def rollback(self) -> None:
        if not self.raw.closed and self.raw.info.transaction_status != IDLE:
            with self.at_work():
                self.raw.execute("ROLLBACK")

    def close(self) -> None:
        self.raw.close()
        self._socket.close()


IDLE = psycopg.pq.TransactionStatus.IDLE


class Server:
    """The server of one journal: opens connections to it, and ends those that hang."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._connections: set[PostgresConnection] = set()
        self._lock = Lock()
        self._closed = Event()
        self._timeline = 0
        self._check_tables: Callable[[psycopg.Connection[Any]], None] | None = None
        # By how many seconds its clock is ahead of ours, as of the newest connection.
        self.clock_ahead = 0.0
        self._watchdog: Thread | None = None

    def connect(self, *, replica: int = 0) -> PostgresConnection:
        """A connection to a server that keeps what it is told, for the replica of that number.

        Raises:
            psycopg.Error: nobody answers, or not as us.
            JournalUnusable: the server is too old, reads only, or may lose what it has committed.
        """
        refusal: Exception | None = None
        for parameters in hosts(self.address):
            try:
                connection = self._connect(parameters)
            except (psycopg.Error, JournalUnusable) as error:
                # That a server can't be used tells more than that another doesn't answer.
                if not isinstance(refusal, JournalUnusable):
                    refusal = error
            else:
                connection.be(replica)
                return connection
        raise refusal or JournalUnusable("REMEDY_JOURNAL names no host")

    def note_newest_timeline(self) -> None:
        """Ask all hosts: one that was left behind by a failover may be the first in the list."""
        many = hosts(self.address)
        for parameters in many if len(many) > 1 else ():
            with suppress(psycopg.Error, JournalUnusable):
                self.close(self._connect(parameters))

    def check_tables(self, check: Callable[[psycopg.Connection[Any]], None]) -> None:
        """Call this for each new connection. It raises JournalUnusable if the tables have become
        others than those that were opened.
        """
        self._check_tables = check

    def close(self, connection: PostgresConnection) -> None:
        with self._lock:
            self._connections.discard(connection)
        connection.close()

    def end(self) -> None:
        """Watch no more."""
        self._closed.set()
        if self._watchdog is not None:
            self._watchdog.join()

    def _connect(self, parameters: dict[str, Any]) -> PostgresConnection:
        raw: psycopg.Connection[Any] = psycopg.connect(
            **parameters, autocommit=True, prepare_threshold=0, cursor_factory=psycopg.RawCursor
        )
        connection = PostgresConnection(raw, is_pooled=False)
        try:
            with self._watched(connection), connection.at_work():
                self._require_promises(connection)
        except BaseException:
            self.close(connection)
            raise
        return connection

    @contextmanager
    def _watched(self, connection: PostgresConnection) -> Generator[None]:
        with self._lock:
            self._connections.add(connection)
            if self._watchdog is None:
                self._watchdog = Thread(target=self._watch, name="journal-watchdog", daemon=True)
                self._watchdog.start()
        yield

    def _require_promises(self, connection: PostgresConnection) -> None:
        raw = connection.raw
        raw.prepare_threshold = None
        asked_at = time.time()
        [found] = raw.execute(_PROMISES).fetchall()
        version, synchronous, has_standby, reads_only, backend, now = found
        self.clock_ahead = now - (asked_at + time.time()) / 2
        where = self.address
        if version < OLDEST_VERSION:
            raise JournalUnusable(
                f"{where} runs PostgreSQL {version}: {OLDEST_VERSION} or newer is needed"
            )
        if reads_only:
            raise JournalUnusable(f"{where} is read-only: a standby, or set so")
        if synchronous == "off" or (synchronous == "local" and has_standby):
            raise JournalUnusable(
                f"{where} has synchronous_commit={synchronous}, and may lose what it has "
                "committed: set it to on"
            )
        self._require_timeline(raw.execute(_TIMELINE).fetchone())
        raw.adapters.register_dumper(int, Int8Dumper)
        connection.is_pooled = backend != raw.info.backend_pid
        if not connection.is_pooled:  # behind a pooler, settings would be another client's, too
            raw.execute(_SETTINGS.encode())
            raw.prepare_threshold, raw.prepared_max = 0, 500
        if self._check_tables:  # with the time-outs, as somebody may hold a lock on the tables
            self._check_tables(raw)

    def _require_timeline(self, row: Any) -> None:
        timeline = int(row[0])
        with self._lock:
            if timeline < self._timeline:
                raise JournalUnusable(
                    f"{self.address} has timeline {timeline}, and {self._timeline} was seen: "
                    "it was left behind by a failover"
                )
            self._timeline = timeline

    def _watch(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            with self._lock:
                # A writer closes its connection itself when it makes a new one.
                self._connections = {each for each in self._connections if not each.raw.closed}
                for connection in self._connections:
                    connection.cut_if_frozen()


def spoils_all(error: type[Exception]) -> bool:
    """Whether this says nothing about a change: another one would fail as well."""
    if issubclass(error, JournalUnusable | JournalError):
        return True
    if not issubclass(error, psycopg.Error):
        return False
    if not error.sqlstate:  # psycopg's own: the connection is lost, or a value can't be sent
        return issubclass(error, psycopg.OperationalError | psycopg.InterfaceError)
    return not error.sqlstate.startswith(_OF_A_CHANGE)


def was_sent_away(error: type[Exception]) -> bool:
    """Whether nothing was changed, and only this connection is at fault: the server ended it and
    says so, or what was prepared on it doesn't fit a table that a newer release has changed.
    """
    return issubclass(
        error,
        psycopg.errors.AdminShutdown
        | psycopg.errors.IdleSessionTimeout
        | psycopg.errors.FeatureNotSupported,
    )


def in_words(error: Exception, address: Address) -> str:
    """What went wrong, in one line without a password."""
    if isinstance(error, JournalUnusable | JournalError):
        return str(error)
    if not isinstance(error, psycopg.Error):
        return f"{type(error).__name__}: {error}"
    said = " ".join((error.diag.message_primary or str(error)).split()) or type(error).__name__
    code = f" ({error.sqlstate})" if error.sqlstate else ""
    return f"{address}: {said}{code}{_ADVICE.get(error.sqlstate or '', '')}"


_ADVICE = {
    "55P03": ": somebody holds a lock on a table, as a waiting ALTER TABLE does",
    "53300": ": raise max_connections, or end what uses them up",
    "53100": ": the server's disk is full",
    "25006": ": the server has become read-only",
}

Connect = Callable[[], PostgresConnection]
