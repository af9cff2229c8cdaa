"""The lock of a served journal: one service for a file, by whatever name the file is reached."""

from __future__ import annotations

import fcntl
import os
import sqlite3
import sys
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Literal

from keptn_remedy.journal.errors import JournalError, JournalUnusable

LOCK_TRIES, LOCK_PAUSE_SECONDS = 5, 0.01
# What a reader keeps of the file: enough for the upper pages of each index. SQLite's own 2 MB for
# each of four readers would only repeat what the system's cache holds.
READER_KIB = 256
# Elsewhere a lock by flock() would shut out SQLite, which locks by fcntl().
CAN_LOCK_THE_FILE = sys.platform == "linux"


class Lock:
    """Two locks: on the file itself, which a symbolic link, hard link or mount leads to as well;
    and on `NAME.lock` beside it, which is still there when the file was replaced.

    SQLite's own locks are lost when a process closes any other descriptor of the file. So this
    one is closed after every connection of the process.
    """

    def __init__(self, path: Path, descriptor: int, resources: ExitStack) -> None:
        self.path = path
        self._descriptor = descriptor
        self._resources = resources
        # What must stay in its place: each path with the file that was found there.
        self._files: list[tuple[Path, os.stat_result]] = []
        self._keeper: sqlite3.Connection | None = None

    @classmethod
    def take(cls, path: Path) -> Lock:
        """Lock the file, making it if there is none.

        Raises:
            JournalUnusable: another process has the lock, or the file has several names.
            OSError: it can't be made or opened.
        """
        shown, path = path, Path(os.path.realpath(path))
        with ExitStack() as resources:
            beside = _opened(_beside(path), os.O_CREAT | os.O_RDWR, resources)
            file = _opened(path, os.O_CREAT | os.O_RDWR, resources)
            if not (_taken(beside) and (_taken(file) or not CAN_LOCK_THE_FILE)):
                raise JournalUnusable(f"another process serves from the journal {shown}")
            found = os.fstat(file)
            if not os.path.samestat(found, path.stat()):
                raise JournalUnusable(f"the journal {path} was replaced just now: start again")
            _require_one_name(path, found)
            lock = cls(path, file, resources.pop_all())
        lock._note(path, found)
        return lock

    @classmethod
    def look(cls, path: Path) -> Lock:
        """Open the file to ask who serves from it, without locking it.

        Raises:
            JournalUnusable: the file has several names.
            OSError: it can't be opened.
        """
        path = Path(os.path.realpath(path))
        with ExitStack() as resources:
            file = _opened(path, os.O_RDONLY, resources)
            _require_one_name(path, os.fstat(file))
            return cls(path, file, resources.pop_all())

    def watch(self) -> None:
        """Keep SQLite's side files from now on; `check` looks at them too.

        Raises:
            OSError, sqlite3.Error: the journal can't be read.
        """
        # While this connection is open, no other one is the last, which would delete them.
        self._keeper = connect(self.path, "ro")
        self._resources.callback(self._keeper.close)
        self._keeper.execute("PRAGMA user_version").fetchone()
        for suffix in ("-wal", "-shm"):
            self._note(Path(f"{self.path}{suffix}"))

    def check(self) -> None:
        """See that the path still names the file that was locked, and SQLite's side files too.

        Raises:
            JournalError: one of them was deleted or replaced.
        """
        for path, known in self._files:
            try:
                if os.path.samestat(path.stat(), known):
                    continue
            except OSError as error:
                if not isinstance(error, FileNotFoundError | NotADirectoryError):
                    raise JournalError(f"{path}: {error.strerror}") from error
            raise JournalError(
                f"{path} was deleted or replaced while it was served: put it back or restore a "
                "backup, then restart the service"
            )

    def is_served(self) -> bool:
        """Whether a service runs from this file.

        Raises:
            JournalUnusable: one runs from a file that is no longer at this path, or this process
                may not look.
        """
        for _ in range(LOCK_TRIES):
            if not _is_free(self._descriptor):
                return True
            if not self._is_served_by_name():
                return False
            time.sleep(LOCK_PAUSE_SECONDS)  # a service that starts or leaves has one of the two
        raise JournalUnusable(
            f"the running service serves from another file than {self.path}, which was deleted "
            "or replaced meanwhile: restart the service"
        )

    def _is_served_by_name(self) -> bool:
        try:
            descriptor = os.open(_beside(self.path), os.O_RDONLY)
        except FileNotFoundError:
            return False
        except OSError as error:
            where = f"the lock of the journal {self.path}"
            raise JournalUnusable(f"can't look at {where}: {error}") from error
        try:
            return not _is_free(descriptor)
        finally:
            os.close(descriptor)

    @property
    def beside(self) -> Path:
        """The lock that stays where it is when the file is replaced."""
        return _beside(self.path)

    def release(self) -> None:
        """Let go of the file. Every other connection of this process must be closed by now."""
        with suppress(JournalError, sqlite3.Error):
            self._fold()
        self._resources.close()

    def _fold(self) -> None:
        """Have SQLite fold the -wal into the file; not if that is another one by now, which this
        would destroy.
        """
        if self._keeper is None:
            return
        self.check()
        self._keeper.close()
        with closing(connect(self.path, "rw")) as last:
            last.execute("PRAGMA user_version").fetchone()

    def _note(self, path: Path, found: os.stat_result | None = None) -> None:
        self._files.append((path, found or path.stat()))


def existing(path: Path) -> Path:
    """The path of a journal that is there.

    Raises:
        JournalUnusable: it is not.
    """
    if not path.is_file():
        raise JournalUnusable(f"there is no journal at {path}; set REMEDY_JOURNAL")
    return path


def connect(path: Path, mode: Literal["ro", "rw"]) -> sqlite3.Connection:
    """A connection to a file that exists, for reading or for writing."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)
    if mode == "ro":
        connection.execute(f"PRAGMA cache_size = -{READER_KIB}")
    return connection


def _opened(path: Path, flags: int, resources: ExitStack) -> int:
    descriptor = os.open(path, flags, 0o600)  # a journal holds whole events
    resources.callback(os.close, descriptor)
    return descriptor


def _require_one_name(path: Path, found: os.stat_result) -> None:
    if found.st_nlink > 1:
        raise JournalUnusable(
            f"the journal {path} has {found.st_nlink} hard links, and SQLite keeps a -wal for each "
            "name: remove the others (find -samefile shows them)"
        )


def _beside(path: Path) -> Path:
    return path.with_name(path.name + ".lock")


def _taken(descriptor: int) -> bool:
    # Who asks `is_served` holds the lock for a moment.
    for _ in range(LOCK_TRIES):
        if _locked(descriptor, fcntl.LOCK_EX):
            return True
        time.sleep(LOCK_PAUSE_SECONDS)
    return False


def _is_free(descriptor: int) -> bool:
    if not _locked(descriptor, fcntl.LOCK_SH):
        return False
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return True


def _locked(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
