"""Which orders of people the service has heard, in the journal."""

from __future__ import annotations

from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.store import Store


class SqlHearing(Store):
    """The part of the journal that counts orders."""

    async def orders_given(self) -> int:
        given, _ = (await self._rows(sql.ORDERS, ()))[0]
        return int(given)

    async def note_heard(self, orders: int) -> None:
        await self._write((sql.HEARD, (orders,)))

    async def all_heard(self) -> bool:
        given, heard = (await self._rows(sql.ORDERS, ()))[0]
        return bool(given == heard)
