"""Opens the journal for the page, beside the service that has it open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from keptn_remedy.journal.address import Place
from keptn_remedy.journal.browsing import Browsing
from keptn_remedy.journal.lock import existing
from keptn_remedy.journal.sql_browsing import SqlBrowsing
from keptn_remedy.journal.sqlite import SqliteJournal


class SqliteBrowsing(SqlBrowsing, SqliteJournal):
    """A reader of the journal's file that serves the page."""

    async def stamp(self) -> object:
        return (await self._rows("PRAGMA data_version", ()))[0][0], id(self._reader)


def open_browsing(place: Place, now: Callable[[], float]) -> Browsing:
    """Open the journal for the page; a database is connected to when somebody looks. `now` is the
    service's time.

    Raises:
        JournalUnusable: there is none.
    """
    if isinstance(place, Path):
        return SqliteBrowsing(existing(place), now=now)
    from keptn_remedy.journal.postgres_browsing import PostgresBrowsing

    return PostgresBrowsing(place, now=now)
