"""This process as one of several replicas: its lease, and what others leave when theirs ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Event, Thread
from uuid import uuid4

import psycopg

from keptn_remedy.journal.errors import JournalUnusable
from keptn_remedy.journal.postgres_connection import PostgresConnection, Server
from keptn_remedy.journal.postgres_owner import FREED
from keptn_remedy.journal.postgres_waking import Waking, Word, listen
from keptn_remedy.support import logs

LEASE_SECONDS = 5.0
# Of the lease: between two renewals, and before its end, when nothing new may be begun any more.
RENEWALS, MARGIN = 5.0, 0.1
# For so long what is to be said to others is gathered: each time costs the server a commit.
SAY_SECONDS = 0.05
# Between two attempts to reach the server.
MOST_PAUSE_SECONDS = 1.0
# So long after another's lease has ended, by the server's clock, it is surely over.
PATIENCE_SECONDS = 0.05
# For so long reports are left alone that an ended replica may have sent just now.
GRACE_SECONDS = 2.0
_NOW = "extract(epoch FROM clock_timestamp())::float8"
_BEGIN = f"""
INSERT INTO replicas (until, name) VALUES ({_NOW} + $1, $2) RETURNING no, until"""  # noqa: S608
# Unless a backup was restored meanwhile: then the row is another's, or is as it was long ago.
_RENEW = f"""
UPDATE replicas SET until = {_NOW} + $2
WHERE no = $1 AND NOT ended AND name = $3 AND until >= $4 RETURNING until"""  # noqa: S608
# Of others' rows only what nobody has locked: a process that is stopped in a transaction must not
# keep this one from renewing its own lease.
_END_EXPIRED = f"""
UPDATE replicas SET ended = TRUE WHERE no IN (
    SELECT no FROM replicas WHERE NOT ended AND until < {_NOW} AND no <> $1
    FOR UPDATE SKIP LOCKED)"""  # noqa: S608
# Who leaves in order writes no more: what it leaves is anybody's.
_LEAVE = (
    "UPDATE replicas SET ended = TRUE WHERE no = $1",
    "UPDATE leases SET until = 0 WHERE owner = $1",
    "UPDATE executions SET owner = NULL WHERE owner = $1 AND state <> 'finished'",
)
# What it was sending as it stopped may have arrived.
_LEAVE_REPORTS = """
UPDATE reports SET owner = NULL, doubtful = TRUE, due_at = greatest(due_at, $2) WHERE owner = $1"""
# Also what an ended replica stored after its end: nobody else would ever look for it.
_FREE = (
    f"""UPDATE executions SET owner = {FREED} WHERE seq IN (
    SELECT seq FROM executions WHERE owner > {FREED} AND state <> 'finished'
        AND owner IN (SELECT no FROM replicas WHERE ended) FOR UPDATE SKIP LOCKED)""",  # noqa: S608
    f"""UPDATE reports SET owner = {FREED}, doubtful = TRUE, due_at = greatest(due_at, $1)
WHERE seq IN (
    SELECT seq FROM reports WHERE state = 'unsent' AND owner > {FREED}
        AND owner IN (SELECT no FROM replicas WHERE ended) FOR UPDATE SKIP LOCKED)""",  # noqa: S608
)
_LOOK = f"""
SELECT (SELECT count(*) FROM replicas WHERE ended),
    (SELECT min(until) FROM replicas WHERE NOT ended AND no <> $1) - {_NOW}"""  # noqa: S608
# One does for all what must not be done twice: until its lease, as a replica, has ended.
_MAKE_DUTY = """
INSERT INTO leases (name, until) VALUES ('duties', 0) ON CONFLICT DO NOTHING"""
_TAKE_DUTY = f"""
UPDATE leases SET owner = $1, until = {_NOW} + $2 WHERE name IN (
    SELECT name FROM leases WHERE name = 'duties' AND (owner = $1 OR owner IS NULL
        OR owner IN (SELECT no FROM replicas WHERE ended))
    FOR UPDATE SKIP LOCKED)
RETURNING owner"""  # noqa: S608


class Replica:
    """The lease of this process, renewed by a thread with a connection of its own.

    The lease ends by the server's clock; this process stops acting earlier, by its own monotonic
    clock, counted from before the renewal was sent. `no` is its number, which is never used again:
    whoever has lost the lease goes on under another. `now` is the journal's Unix time in seconds.
    """

    def __init__(
        self,
        server: Server,
        *,
        lease_seconds: float = LEASE_SECONDS,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.no = 0
        self._server = server
        self._lease_seconds = lease_seconds
        self._now = now
        # What is only in the row that was made for this lease, and how long that said it lasts.
        self._name, self._until = "", 0.0
        self._monotonic = monotonic
        self._deadline = self._duty_until = 0.0
        # Nobody's lease is believed to have ended before a whole one has passed on this connection:
        # the server, or its clock, may be another than before.
        self._quiet_until = 0.0
        self.ended_ones = 0
        self._connection: PostgresConnection | None = None
        self._waking = Waking()
        self._has_others = False
        self._closed = Event()
        self._thread: Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lost: Callable[[], None] = _nothing
        self._found: Callable[[], None] = _nothing
        self._heard: dict[Word, Callable[[], None]] = {}
        self._alarm: asyncio.TimerHandle | None = None

    def may_act(self) -> bool:
        """Whether the lease surely holds for now."""
        return self._monotonic() < self._deadline

    def has_duty(self) -> bool:
        """Whether this replica does what one does for all."""
        return self._monotonic() < min(self._duty_until, self._deadline)

    def begin(self) -> None:
        """Take a number and a lease, and keep renewing it.

        Raises:
            psycopg.Error, JournalUnusable: the server can't be used.
        """
        self._renew()
        self._thread = Thread(target=self._keep, name="journal-keeper", daemon=True)
        self._thread.start()

    def notify(
        self,
        lost: Callable[[], None],
        found: Callable[[], None],
        ordered: Callable[[], None],
        freed: Callable[[], None],
    ) -> None:
        """Have these called on the event loop that runs now, as `Ownership.notify` says; `freed`
        when another replica says that it is done with something.
        """
        self._loop = asyncio.get_running_loop()
        self._lost, self._found = lost, found
        self._heard = {"ordered": ordered, "freed": freed}
        self._set_alarm()

    def say(self, word: Word) -> None:
        """Say it to the other replicas soon, if there are any."""
        if self._has_others:
            self._waking.say(word)

    def end(self) -> None:
        """Give everything back, for others to take up at once."""
        self._closed.set()
        self._waking.ring()
        if self._alarm:
            self._alarm.cancel()
        if self._thread is not None:
            self._thread.join()
        self._deadline = 0.0
        with suppress(psycopg.Error, JournalUnusable):
            connection = self._connected()
            with connection.at_work():
                for statement in _LEAVE:
                    connection.raw.execute(statement, (self.no,))
                connection.raw.execute(_LEAVE_REPORTS, (self.no, self._now() + GRACE_SECONDS))
            self._waking.say("left")
            self._waking.say_all(connection, self.no)
        self._disconnect()
        self._waking.close()

    def _keep(self) -> None:
        due_at = self._monotonic() + self._lease_seconds / RENEWALS
        while not self._closed.is_set():
            try:
                due_at = self._wait_and_renew(due_at)
            except Exception as error:  # noqa: BLE001  whatever it is, the thread must live
                if self.may_act():
                    reason = " ".join(str(error).split())
                    logs.logger().warning("the lease can't be renewed", reason=reason)
                self._disconnect()
                pause = min(self._lease_seconds / RENEWALS / 4, MOST_PAUSE_SECONDS)
                due_at = self._monotonic() + pause

    def _wait_and_renew(self, due_at: float) -> float:
        """Wait until something is to be done, and do it; returns when the lease is due next."""
        heard = self._waking.wait(self._connection, self.no, due_at - self._monotonic())
        if self._closed.is_set():
            return due_at
        for word, call in self._heard.items():
            if word in heard:
                self._tell(call)
        if "left" in heard or self._monotonic() >= due_at:
            due_at = self._monotonic() + self._renew()
        if self._connection and self._waking.say_all(self._connection, self.no):
            self._closed.wait(SAY_SECONDS)
        return due_at

    def _renew(self) -> float:
        """Renew the lease, and look after those of others; returns the seconds until the next."""
        began = self._monotonic()
        connection = self._connected()
        raw = connection.raw
        with connection.at_work():
            was = self.no
            bound = was, self._lease_seconds, self._name, self._until
            if was and (row := raw.execute(_RENEW, bound).fetchone()):
                [self._until] = row
            else:
                self._take_number(connection)
            deadline = began + self._lease_seconds * (1 - MARGIN)
            if was in (0, self.no) or self._loop is None:
                self._deadline = deadline
            else:  # what runs by the old number must be told before anything acts by the new one
                self._tell(partial(self._begin_anew, deadline))
            if began >= self._quiet_until:
                raw.execute(_END_EXPIRED, (self.no,))
            if raw.execute(_TAKE_DUTY, (self.no, self._lease_seconds)).fetchone():
                self._duty_until = deadline
            self._free(connection)
            ended, next_end = raw.execute(_LOOK, (self.no,)).fetchone() or (0, None)
        if ended != self.ended_ones:
            self.ended_ones = ended
            self._tell(self._found)
        self._has_others = next_end is not None
        self._tell(self._set_alarm)
        pause = self._lease_seconds / RENEWALS
        return pause if next_end is None else min(pause, max(next_end, 0.0) + PATIENCE_SECONDS)

    def _take_number(self, connection: PostgresConnection) -> None:
        connection.raw.execute(_MAKE_DUTY)
        name = uuid4().hex
        [row] = connection.raw.execute(_BEGIN, (self._lease_seconds, name)).fetchall()
        was, self._deadline = self.no, 0.0  # nothing acts by the old lease any more
        self.no, self._until = row
        self._name = name
        if was:
            self._duty_until = 0.0
            logs.logger().warning("the lease was lost", replica=was, now=self.no)

    def _begin_anew(self, deadline: float) -> None:
        self._lost()
        self._deadline = deadline

    def _free(self, connection: PostgresConnection) -> None:
        executions, reports = _FREE
        connection.raw.execute(executions.encode())
        connection.raw.execute(reports.encode(), (self._now() + GRACE_SECONDS,))

    def _connected(self) -> PostgresConnection:
        if self._connection is None:
            self._connection = self._server.connect()
            listen(self._connection)
            self._tell(self._found)  # whatever was said while nobody listened
            for call in self._heard.values():
                self._tell(call)
            self._quiet_until = self._monotonic() + self._lease_seconds
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(psycopg.Error):
                self._server.close(self._connection)
            self._connection = None

    def _tell(self, what: Callable[[], None]) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody listens any more
                self._loop.call_soon_threadsafe(what)

    def _set_alarm(self) -> None:
        """On the event loop: stop acting when the lease is not renewed in time."""
        if self._alarm:
            self._alarm.cancel()
        if self._loop is not None and not self._closed.is_set():
            left = max(0.0, self._deadline - self._monotonic())
            self._alarm = self._loop.call_later(left, self._ring)

    def _ring(self) -> None:
        if not self.may_act():
            self._lost()
        else:
            self._set_alarm()


def _nothing() -> None:
    """Nobody listens yet."""
