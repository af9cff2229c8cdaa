"""The journal in one SQLite file: who may open it, and how."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import orjson

from keptn_remedy.action import JSON
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.ages import SqliteAges
from keptn_remedy.journal.effects import SqliteEffects
from keptn_remedy.journal.errors import JournalUnusable
from keptn_remedy.journal.executions import SqliteExecutions
from keptn_remedy.journal.group_commit import GroupCommit
from keptn_remedy.journal.hearing import SqliteHearing
from keptn_remedy.journal.protocol import Journal, Records
from keptn_remedy.journal.questions import SqliteQuestions
from keptn_remedy.journal.records import SqliteRecords
from keptn_remedy.journal.schema import migrate, require_this_version
from keptn_remedy.journal.undos import SqliteUndos

LOCK_TRIES, LOCK_PAUSE_SECONDS = 5, 0.01


class SqliteJournal(
    SqliteExecutions,
    SqliteEffects,
    SqliteQuestions,
    SqliteHearing,
    SqliteUndos,
    SqliteRecords,
    SqliteAges,
):
    """The journal of one service process: `open` for serving, `beside` for a word to a service that
    may be running, `read_only` for looking.
    """

    _lock: int | None = None

    @classmethod
    def open(cls, path: Path, **options: Any) -> SqliteJournal:
        """Open the file for serving, making or migrating it; one process at a time may.

        Raises:
            JournalUnusable: the file can't be opened, is newer than we are, or is in use.
        """
        journal = cls(path, **options)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            journal._lock = _lock(path)
            path.touch(mode=0o600)  # it holds whole events
            connection = journal._connect()
            migrate(connection)
            connection.close()
        except (OSError, sqlite3.Error) as error:
            raise JournalUnusable(f"can't open the journal {path}: {error}") from error
        journal._writing = GroupCommit(journal._connect, journal._on_commit)
        return journal

    @classmethod
    def beside(cls, path: Path, **options: Any) -> SqliteJournal:
        """Open the file for writing beside a service that may be running, neither made nor changed
        by this. Without a `now` of its own it goes by the service's clock.

        Raises:
            JournalUnusable: there is no such file, it can't be opened, or has another version.
        """
        journal = cls(_existing(path), **options)
        try:
            with closing(journal._look()) as connection:
                require_this_version(connection)
                if "now" not in options:
                    journal._follow_service(connection)
        except sqlite3.Error as error:
            raise JournalUnusable(f"can't open the journal {path}: {error}") from error
        journal._writing = GroupCommit(journal._connect, journal._on_commit)
        return journal

    @classmethod
    def read_only(cls, path: Path) -> SqliteJournal:
        """Open the file beside a running service, for reading alone.

        Raises:
            JournalUnusable: there is no such file.
        """
        return cls(_existing(path))

    async def recall(self, action: str, key: str) -> JSON:
        found = await self._rows(
            "SELECT value FROM memory WHERE action = ? AND key = ?", (action, key)
        )
        return orjson.loads(found[0][0]) if found else None

    async def remember(self, action: str, key: str, value: JSON) -> None:
        if value is None:
            await self._write(("DELETE FROM memory WHERE action = ? AND key = ?", (action, key)))
        else:
            await self._write((sql.REMEMBER, (action, key, orjson.dumps(value))))

    async def close(self) -> None:
        await super().close()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def open_journal(
    path: Path,
    *,
    now: Callable[[], float] = time.time,
    on_commit: Callable[[float, int], None] = lambda seconds, changes: None,
) -> Journal:
    """Open the journal for serving, making or migrating it; one process at a time may.

    `now` is the Unix time in seconds. `on_commit` takes the seconds that a commit took, and how
    many changes it held.

    Raises:
        JournalUnusable: it can't be opened, is newer than we are, or is in use.
    """
    return SqliteJournal.open(path, now=now, on_commit=on_commit)


def open_beside(path: Path) -> Journal:
    """Open the journal for writing beside a service that may be running; it is neither made nor
    migrated.

    Raises:
        JournalUnusable: there is none, it can't be opened, or has another version.
    """
    return SqliteJournal.beside(path)


def open_read_only(path: Path) -> Records:
    """Open the journal for reading alone, beside a service that may be running.

    Raises:
        JournalUnusable: there is none.
    """
    return SqliteJournal.read_only(path)


def is_served(path: Path) -> bool:
    """Whether a service runs from this journal.

    Raises:
        JournalUnusable: this process may not look.
    """
    try:
        descriptor = os.open(_lock_of(path), os.O_RDONLY)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise JournalUnusable(f"can't look at the lock of the journal {path}: {error}") from error
    is_free = _taken(descriptor, fcntl.LOCK_SH)
    os.close(descriptor)
    return not is_free


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise JournalUnusable(f"there is no journal at {path}; set REMEDY_JOURNAL")
    return path


def _lock(path: Path) -> int:
    descriptor = os.open(_lock_of(path), os.O_CREAT | os.O_RDWR, 0o600)
    # Who asks `is_served` holds the lock for a moment.
    for _ in range(LOCK_TRIES):
        if _taken(descriptor, fcntl.LOCK_EX):
            return descriptor
        time.sleep(LOCK_PAUSE_SECONDS)
    os.close(descriptor)
    raise JournalUnusable(f"another process serves from the journal {path}")


def _lock_of(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _taken(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
