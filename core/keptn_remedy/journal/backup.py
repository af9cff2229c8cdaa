"""Copies of the whole journal, also while it is served, and back; checked before they count."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import mkstemp
from typing import BinaryIO, NamedTuple

from keptn_remedy.journal.errors import JournalUnusable, in_words
from keptn_remedy.journal.lock import Lock, connect, existing
from keptn_remedy.journal.schema import require_known_version

_SIDE_FILES = ("-wal", "-shm", "-journal")


class Counts(NamedTuple):
    """How many executions a journal holds, and how many of them have not finished."""

    executions: int
    open: int


def back_up(path: Path, to: Path) -> Counts:
    """Copy the journal to a file that only its owner may read, in place of an earlier one.

    Raises:
        JournalUnusable: the journal can't be read or is damaged, or `to` is a journal in use.
        OSError: the copy can't be written.
    """
    existing(path)
    if to.exists() and (to.samefile(path) or _is_served(to)):
        raise JournalUnusable(f"{to} is a journal in use: name another file for the backup")
    with _copy_in(to.parent, to.name, lambda copy: _fill_from(path, copy)) as (copy, content):
        _put(copy, to)
    return content


def back_up_to_stream(path: Path, to: BinaryIO) -> Counts:
    """As `back_up`, to a stream. The volume of the journal needs room for the copy meanwhile."""
    existing(path)
    with _copy_in(path.parent, path.name, lambda copy: _fill_from(path, copy)) as (copy, content):
        with copy.open("rb") as source:
            shutil.copyfileobj(source, to)
        to.flush()
    return content


def restore(path: Path, source: Path | BinaryIO) -> Counts:
    """Put a copy in the place of the journal, all or nothing.

    Raises:
        JournalUnusable: a service runs from the journal; or the copy is no journal, is damaged or
            is newer than we are. The journal is as it was then.
        OSError: the copy can't be read, or not be written.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and _is_served(path):
        raise JournalUnusable(f"a service runs from the journal {path}: stop it first")
    if isinstance(source, Path) and path.exists() and source.samefile(path):
        raise JournalUnusable(f"{source} is the journal itself: name a backup")
    with _copy_in(path.parent, path.name, lambda copy: _fill(copy, source)) as (copy, content):
        replaced = path.stat() if path.exists() else None
        lock = Lock.take(path)
        try:
            _give_to_owner(replaced, copy, lock.beside)
            _fold(path)
            _put(copy, path)
        finally:
            lock.release()
    return content


@contextmanager
def _copy_in(
    folder: Path, name: str, fill: Callable[[Path], None]
) -> Generator[tuple[Path, Counts]]:
    """A copy in a file of that folder, checked; what is not moved away is deleted."""
    descriptor, made = mkstemp(prefix=f".{name}.", dir=folder)  # only its owner may read it
    os.close(descriptor)
    copy = Path(made)
    try:
        fill(copy)
        yield copy, _checked(copy)
    finally:
        for suffix in ("", *_SIDE_FILES):
            Path(f"{made}{suffix}").unlink(missing_ok=True)


def _fill(copy: Path, source: Path | BinaryIO) -> None:
    if isinstance(source, Path):
        source.stat()  # says more than SQLite if there is none
        _fill_from(source, copy)
        return
    with copy.open("wb") as target:
        shutil.copyfileobj(source, target)


def _fill_from(path: Path, copy: Path) -> None:
    try:
        # With what is only in the -wal yet, as of one moment.
        with closing(connect(path, "ro")) as source, closing(connect(copy, "rw")) as target:
            source.backup(target)
    except sqlite3.Error as error:
        raise JournalUnusable(in_words(error, path)) from error


def _checked(copy: Path) -> Counts:
    try:
        with closing(connect(copy, "rw")) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")  # all of it in one file
            require_known_version(connection)
            found = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            if found != "ok":
                raise JournalUnusable(f"the copy is damaged: {' '.join(found.split())}")
            counts = connection.execute(
                "SELECT count(*), total(state <> 'finished') FROM executions"
            )
            executions, still_open = counts.fetchone()
            return Counts(executions, int(still_open))
    except sqlite3.Error as error:
        raise JournalUnusable(f"the copy is damaged, or no journal: {error}") from error


def _is_served(path: Path) -> bool:
    lock = Lock.look(path)
    try:
        return lock.is_served()
    finally:
        lock.release()


def _fold(path: Path) -> None:
    """Leave nothing beside the file that SQLite would take for a part of the next one."""
    with suppress(sqlite3.Error), closing(connect(path, "rw")) as last:
        last.execute("PRAGMA user_version").fetchone()
    for suffix in _SIDE_FILES:
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _give_to_owner(replaced: os.stat_result | None, *files: Path) -> None:
    """Let the service, which may be another user, open what root made."""
    if replaced is not None and os.geteuid() == 0:
        for file in files:
            os.chown(file, replaced.st_uid, replaced.st_gid)


def _put(copy: Path, to: Path) -> None:
    """Move the copy to its place, and onto the disk."""
    _sync(copy)
    copy.replace(to)
    _sync(to.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
