"""The journal in one SQLite file: who may open it, and how."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from keptn_remedy.journal.ages import SqlAges
from keptn_remedy.journal.effects import SqlEffects
from keptn_remedy.journal.episodes import SqlEpisodes
from keptn_remedy.journal.errors import JournalUnusable
from keptn_remedy.journal.executions import SqlExecutions
from keptn_remedy.journal.hearing import SqlHearing
from keptn_remedy.journal.lock import Lock, connect, existing
from keptn_remedy.journal.memories import SqlMemories
from keptn_remedy.journal.notified import SqlNotifications
from keptn_remedy.journal.ownership import ALONE
from keptn_remedy.journal.questions import SqlQuestions
from keptn_remedy.journal.records import SqlRecords
from keptn_remedy.journal.schema import migrate, require_this_version
from keptn_remedy.journal.sql_failed_attempts import SqlFailedAttempts
from keptn_remedy.journal.sql_search import SqlSearch
from keptn_remedy.journal.sqlite_file import SqliteFile
from keptn_remedy.journal.store import Reader
from keptn_remedy.journal.timers import SqlTimers
from keptn_remedy.journal.undos import SqlUndos

_IS_TABLE = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?"


class SqliteJournal(
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
    SqliteFile,
):
    """The journal of one service process: `open` for serving, `beside` for a word to a service that
    may be running, `read_only` for looking.
    """

    ownership = ALONE  # a lock on the file sees to that

    @classmethod
    def open(cls, path: Path, **options: Any) -> SqliteJournal:
        """Open the file for serving, making or migrating it; one process at a time may.

        Raises:
            JournalUnusable: the file can't be opened, is newer than we are, or is in use.
        """
        journal = cls(path, **options)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with ExitStack() as if_refused:
                journal._lock = Lock.take(path)
                journal._locked_at = journal._now()
                if_refused.callback(journal._lock.release)
                with closing(journal._connect()) as connection:
                    migrate(connection)
                    journal._lock.watch()
                if_refused.pop_all()
        except (OSError, sqlite3.Error) as error:
            raise JournalUnusable(f"can't open the journal {path}: {error}") from error
        journal._begin_writing()
        return journal

    @classmethod
    def beside(cls, path: Path, **options: Any) -> SqliteJournal:
        """Open the file for writing beside a service that may be running, neither made nor changed
        by this. Without a `now` of its own it goes by the service's clock.

        Raises:
            JournalUnusable: there is no such file, it can't be opened, or has another version.
        """
        journal = cls(existing(path), **options)
        try:
            journal._lock = Lock.look(path)
            with closing(connect(path, "ro")) as connection:
                require_this_version(connection)
                if "now" not in options:
                    journal._follow_service(connection)
        except (OSError, sqlite3.Error) as error:
            raise JournalUnusable(f"can't open the journal {path}: {error}") from error
        journal._begin_writing()
        return journal

    @classmethod
    def read_only(cls, path: Path) -> SqliteJournal:
        """Open the file beside a running service, for reading alone.

        Raises:
            JournalUnusable: there is no such file.
        """
        return cls(existing(path))

    def _failed_attempts(self, reader: Reader, seq: int) -> Sequence[Any]:
        # A file may be read that no service of this release has migrated yet.
        is_known = reader.execute(_IS_TABLE, ("failed_attempts",)).fetchone()
        return super()._failed_attempts(reader, seq) if is_known else ()

    def is_served(self) -> bool:
        return self._lock is not None and self._lock.is_served()
