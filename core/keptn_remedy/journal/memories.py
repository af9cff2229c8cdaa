"""What actions, and the policy file, keep in the journal between executions."""

from __future__ import annotations

import orjson

from keptn_remedy.action import JSON
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.store import Statement, Store, Written
from keptn_remedy.journal.values import Execution


class SqlMemories(Store):
    """The part of the journal that remembers."""

    async def recall(self, action: str, key: str) -> JSON:
        found = await self._rows(sql.RECALL, (action, key))
        return orjson.loads(found[0][0]) if found else None

    async def remember(
        self, action: str, key: str, value: JSON, *, by: Execution | None = None
    ) -> None:
        if value is None:
            await self._change((sql.FORGET_MEMORY, (action, key)), by)
        else:
            await self._change((sql.REMEMBER, (action, key, orjson.dumps(value))), by)

    async def remember_instead(self, was: JSON, action: str, key: str, value: JSON) -> bool:
        new = {"action": action, "key": key, "value": orjson.dumps(value)}
        if was is None:
            return (await self._write((sql.REMEMBER_FIRST, new))).rows > 0
        new["was"] = orjson.dumps(was)
        return (await self._write((sql.REMEMBER_INSTEAD, new))).rows > 0

    async def remember_within(
        self, most: int, action: str, key: str, value: JSON, *, by: Execution | None = None
    ) -> bool:
        new = {"action": action, "key": key, "value": orjson.dumps(value), "most": most}
        return (await self._change((sql.REMEMBER_WITHIN, new), by)).rows > 0

    async def _change(self, change: Statement, by: Execution | None) -> Written:
        return await (self._write_for(by.handle, change) if by else self._write(change))
