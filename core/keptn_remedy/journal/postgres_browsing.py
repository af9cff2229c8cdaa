"""Reading for the page, in PostgreSQL."""

from __future__ import annotations

from keptn_remedy.journal.postgres import PostgresJournal
from keptn_remedy.journal.sql_browsing import SqlBrowsing

# Whatever is committed changes it; so does each replica that renews its lease, once a second.
_STAMP = "SELECT pg_current_snapshot()::text"


class PostgresBrowsing(SqlBrowsing, PostgresJournal):
    """A reader of the journal's database that serves the page, with a connection of its own."""

    async def stamp(self) -> object:
        return (await self._rows(_STAMP, ()))[0][0]
