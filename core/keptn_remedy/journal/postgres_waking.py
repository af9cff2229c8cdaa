"""Replicas tell one another by NOTIFY what has changed, so that nobody waits for the next look."""

from __future__ import annotations

import select
import socket
from collections import deque
from contextlib import suppress
from typing import Literal, get_args

import psycopg

from keptn_remedy.journal.postgres_connection import PostgresConnection

# `freed`: an execution, lane or target. `ordered`: a pause, a verdict, an undo or an abort.
# `left`: a replica has given everything back.
Word = Literal["freed", "ordered", "left"]
CHANNEL = "keptn_remedy"
LISTEN = f"LISTEN {CHANNEL}"
SAY = f"SELECT pg_notify('{CHANNEL}', $1)"
# Nothing is to be kept of it: nobody waits for a disk or a standby.
_SAY_SOON = f"BEGIN; SET LOCAL synchronous_commit = off; NOTIFY {CHANNEL}, '{{}}'; COMMIT"


class Waking:
    """What a replica says to the others and hears from them, on its keeper's connection. Whatever
    is lost is found by the look that comes each second.
    """

    def __init__(self) -> None:
        self._to_say: deque[Word] = deque()
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._ear.setblocking(False)

    def say(self, word: Word) -> None:
        """Have it said soon. Called in any thread."""
        self._to_say.append(word)
        self.ring()

    def ring(self) -> None:
        """End the wait of the keeper. Called in any thread."""
        with suppress(OSError):  # it rings already, or nobody waits any more
            self._bell.send(b".")

    def wait(self, connection: PostgresConnection | None, no: int, seconds: float) -> set[Word]:
        """Wait so long for others, or for something to say; returns what was heard by replica `no`.

        Raises:
            psycopg.Error: the connection is lost.
        """
        heard = self._heard(connection, no)
        if heard or self._to_say:
            return heard
        poll = select.poll()
        poll.register(self._ear, select.POLLIN)
        if connection is not None:
            poll.register(connection.raw.fileno(), select.POLLIN)
        poll.poll(max(0.0, seconds) * 1000)
        with suppress(BlockingIOError):
            self._ear.recv(4096)
        return self._heard(connection, no)

    def say_all(self, connection: PostgresConnection, no: int) -> bool:
        """Say what is to be said, each word once; returns whether there was anything."""
        words: set[Word] = set()
        while self._to_say:
            words.add(self._to_say.popleft())
        for word in sorted(words):
            try:
                with connection.at_work():
                    said = _SAY_SOON.format(f"{no:d} {word}")
                    connection.raw.execute(said.encode(), prepare=False)
            except psycopg.Error:  # as where the queue of the server is full: it is not said
                connection.rollback()
        return bool(words)

    def close(self) -> None:
        """Nobody waits any more."""
        self._bell.close()
        self._ear.close()

    def _heard(self, connection: PostgresConnection | None, no: int) -> set[Word]:
        if connection is None:
            return set()
        heard: set[Word] = set()
        for notify in connection.raw.notifies(timeout=0):
            who, _, word = notify.payload.partition(" ")
            if who != str(no):
                heard.update(known for known in get_args(Word) if known == word)
        return heard


def listen(connection: PostgresConnection) -> None:
    """Hear what replicas say from now on. Behind a pooler nothing would be heard."""
    if not connection.is_pooled:
        with connection.at_work():
            connection.raw.execute(LISTEN)
