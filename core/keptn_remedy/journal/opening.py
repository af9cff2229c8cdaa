"""Opens the journal wherever it is kept; psycopg is imported for one on PostgreSQL alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from keptn_remedy.journal.address import Place
from keptn_remedy.journal.errors import JournalUnusable
from keptn_remedy.journal.protocol import Journal
from keptn_remedy.journal.record_protocol import Records
from keptn_remedy.journal.sqlite import SqliteJournal

if TYPE_CHECKING:
    from keptn_remedy.journal.postgres import PostgresJournal


def open_journal(
    place: Place,
    *,
    now: Callable[[], float] = time.time,
    on_commit: Callable[[float, int], None] = lambda seconds, changes: None,
    is_told: bool = True,
    lease_seconds: float = 5.0,
) -> Journal:
    """Open the journal for serving, making or migrating it; one process at a time may, unless it is
    on PostgreSQL.

    `now` is the Unix time in seconds. `on_commit` takes the seconds that a commit took, and how
    many changes it held. `is_told`: the end of an execution is noted for the people who are to be
    told of it. `lease_seconds` is the length of the lease by which a replica has what it claimed;
    the only process of a file has no need of one.

    Raises:
        JournalUnusable: it can't be opened, is newer than we are, or is in use.
    """
    if isinstance(place, Path):
        return SqliteJournal.open(place, now=now, on_commit=on_commit, is_told=is_told)
    return _postgres().open(
        place, now=now, on_commit=on_commit, is_told=is_told, lease_seconds=lease_seconds
    )


def open_beside(place: Place) -> Journal:
    """Open the journal for writing beside a service that may be running; it is neither made nor
    migrated.

    Raises:
        JournalUnusable: there is none, it can't be opened, or has another version.
    """
    if isinstance(place, Path):
        return SqliteJournal.beside(place)
    return _postgres().beside(place)


def open_read_only(place: Place) -> Records:
    """Open the journal for reading alone, beside a service that may be running.

    Raises:
        JournalUnusable: there is none.
    """
    if isinstance(place, Path):
        return SqliteJournal.read_only(place)
    return _postgres().read_only(place)


def _postgres() -> type[PostgresJournal]:
    try:
        from keptn_remedy.journal.postgres import PostgresJournal
    except ImportError as error:
        raise JournalUnusable(
            "REMEDY_JOURNAL names a PostgreSQL database, and psycopg is not installed: "
            "pip install 'keptn-remedy[postgres]'"
        ) from error
    return PostgresJournal
