"""Finding executions, in SQL."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import orjson

from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.search import Criteria, Waiting
from keptn_remedy.journal.store import Store
from keptn_remedy.journal.values import Cursor, Record

# Each must hold; those without a value are left out.
_CONDITIONS = {
    "state": "state = :state",
    "project": "project = :project",
    "stage": "stage = :stage",
    "service": "service = :service",
    "action": "action = :action",
    "result": "(result = :result OR status = :result)",
    "context": "context = :context",
    "since": "accepted_at >= :since",
}
_EVENTS = "SELECT id, event FROM executions WHERE id IN (SELECT value FROM json_each(?))"
_IDS = "SELECT id FROM executions WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
_OPEN, _ASKING = "INDEXED BY executions_open", "INDEXED BY executions_asking"
# More than are ever open: each blocks a sequence until a person answers.
MOST_ASKING = 10_000
_LAST_CHARACTER = "\U0010ffff"


class SqlSearch(Store):
    """The part of the journal that finds executions."""

    async def search(
        self, criteria: Criteria, *, before: Cursor | None = None, limit: int = 100
    ) -> list[Record]:
        given = {name: getattr(criteria, name) for name in _CONDITIONS}
        bound = {name: value for name, value in given.items() if value is not None}
        conditions, index = [_CONDITIONS[name] for name in bound], ""
        # What is open has an index of its own, and may lie far back in a long history.
        if criteria.asking or criteria.state in ("accepted", "started"):
            conditions.append(sql.IS_ASKING if criteria.asking else sql.IS_OPEN)
            index = _ASKING if criteria.asking else _OPEN
        look = sql.records_where(conditions, index)
        bound |= {"before": 2**62 if before is None else before, "limit": limit}
        return await self._read(lambda reader: [*map(rows.record, reader.execute(look, bound))])

    async def ids_from(self, prefix: str, limit: int) -> list[str]:
        bound = prefix, prefix + _LAST_CHARACTER, limit
        return [row[0] for row in await self._rows(_IDS, bound)]

    async def event_types(self, ids: Collection[str]) -> Mapping[str, str]:
        found = await self._rows(_EVENTS, (self._list(ids),))
        types = ((execution, _type_of(event)) for execution, event in found)
        return {execution: kind for execution, kind in types if kind}

    async def waiting(self) -> Waiting:
        asking = await self._executions(sql.QUESTIONS, (MOST_ASKING,))
        first = await self._executions(sql.NEXT_IN_LANES, ())
        questions = ((execution.id, execution.question) for execution in asking)
        return Waiting(
            {found: (q.expires_at, q.default) for found, q in questions if q},
            {(e.trigger.project, e.trigger.stage, e.trigger.service): e.id for e in first},
        )


def _type_of(event: bytes) -> str | None:
    try:
        kind = orjson.loads(event)["type"]
    except (orjson.JSONDecodeError, TypeError, KeyError):
        return None
    return kind if isinstance(kind, str) else None
