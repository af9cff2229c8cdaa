"""Reading for the page, in SQL: a connection and a thread apart from those of the service."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.bounds import Bounds
from keptn_remedy.journal.browsing import (
    TOOK_SECONDS,
    ActedOn,
    Browsed,
    Hour,
    Names,
    Refused,
    Result,
)
from keptn_remedy.journal.effects import SqlHistory
from keptn_remedy.journal.history import History
from keptn_remedy.journal.store import Reader, Store
from keptn_remedy.journal.values import Cursor, Record

T = TypeVar("T")

# Names are taken from so many of the newest executions, targets from so many effects.
NEWEST_EXECUTIONS, NEWEST_EFFECTS = 2_000, 5_000
_HOUR = 3600
_ENDED = "CASE WHEN status = 'succeeded' THEN result ELSE status END"
_IS_REFUSED = f"{sql.RAIL} IS NOT NULL"
_OTHER = "executions_other"
_IS_OTHER = "state = 'finished' AND result <> 'pass'"
_PASSED = "state = 'finished' AND status = 'succeeded' AND result = 'pass'"
# Each look walks back through an index that holds all it compares, and stops at the limit.
_LOOKS: Mapping[Result | None, tuple[str, Sequence[str]]] = {
    None: ("executions_browsed", ()),
    "pass": ("executions_browsed", (_PASSED,)),
    "open": ("executions_open", (sql.IS_OPEN,)),
    "waiting": ("executions_asking", (sql.IS_ASKING,)),
    "refused": (_OTHER, (_IS_OTHER, _IS_REFUSED)),
    "warning": (_OTHER, (_IS_OTHER, f"{_ENDED} = 'warning'")),
    "fail": (_OTHER, (_IS_OTHER, f"{_ENDED} = 'fail'")),
    "errored": (_OTHER, (_IS_OTHER, "status = 'errored'")),
    "aborted": (_OTHER, (_IS_OTHER, "status = 'aborted'")),
}
_CONDITIONS = {
    "project": "project = :project",
    "stage": "stage = :stage",
    "service": "service = :service",
    "action": "action = :action",
    "since": "accepted_at >= :since",
}
_REFUSED = f"""
SELECT {sql.RECORD}, {sql.RAIL}, {sql.RULE}
FROM executions INDEXED BY executions_other
WHERE {_IS_OTHER} AND {_IS_REFUSED} AND finished_at >= ?
ORDER BY seq DESC LIMIT ?"""  # noqa: S608  our names
_BUCKET = " ".join(
    f"WHEN finished_at - accepted_at <= {bound} THEN {bound}" for bound in TOOK_SECONDS
)
_LONGER = 1e9
_HOURS = f"""
SELECT {_ENDED}, result <> 'pass' AND {_IS_REFUSED}, CASE {_BUCKET} ELSE {_LONGER} END, count(*)
FROM executions INDEXED BY executions_finished
WHERE state = 'finished' AND finished_at >= ? AND finished_at < ?
GROUP BY 1, 2, 3"""  # noqa: S608
_TOUCHED = """
SELECT target, action, project, stage, service, planned, admitted_at FROM effects
ORDER BY execution DESC LIMIT ?"""
_ADMITTED_AT = """
SELECT max(admitted_at) FROM effects
WHERE execution = (SELECT seq FROM executions WHERE id = ?)"""
_NAMES = """
SELECT DISTINCT project, stage, service, action FROM (
    SELECT project, stage, service, action FROM executions INDEXED BY executions_browsed
    WHERE seq > 0 ORDER BY seq DESC LIMIT ?) AS newest"""


class SqlBrowsing(Store):
    """The part of the journal that the page reads."""

    async def browse(
        self, browsed: Browsed, *, before: Cursor | None = None, limit: int = 50
    ) -> list[Record]:
        index, conditions = _LOOKS[browsed.result]
        given = {name: getattr(browsed, name) for name in _CONDITIONS}
        bound = {name: value for name, value in given.items() if value is not None}
        which = " AND ".join(("seq < :before", *conditions, *(_CONDITIONS[name] for name in bound)))
        look = f"""
SELECT {sql.RECORD} FROM executions WHERE seq IN (
    SELECT seq FROM executions INDEXED BY {index}
    WHERE {which} ORDER BY seq DESC LIMIT :limit) ORDER BY seq DESC"""  # noqa: S608  our names
        bound |= {"before": 2**62 if before is None else before, "limit": limit}
        return [*map(rows.record, await self._rows(look, bound))]

    async def refused(self, since: float, limit: int) -> list[Refused]:
        found = await self._rows(_REFUSED, (since, limit))
        return [Refused(rows.record(row), *map(str, row[-2:])) for row in found]

    async def hours(self, begins: Sequence[int]) -> list[Hour]:
        def read(reader: Reader) -> list[Hour]:
            return [_hour(reader, begin) for begin in begins]

        return await self._read(read)

    async def touched(self, since: float, limit: int) -> list[ActedOn]:
        found: dict[tuple[str, str], ActedOn] = {}
        for row in await self._rows(_TOUCHED, (NEWEST_EFFECTS,)):
            target, action, project, stage, service, planned, at = row
            touched = ActedOn(target, action, project, stage, service, bool(planned), at)
            if touched.admitted_at >= since and len(found) < limit:
                found.setdefault((touched.target, touched.action), touched)
        return list(found.values())

    async def admitted_at(self, execution_id: str) -> float | None:
        at: float | None = (await self._rows(_ADMITTED_AT, (execution_id,)))[0][0]
        return at

    async def past(self, ask: Callable[[History], T]) -> T:
        return await self._read_at_once(lambda reader: ask(_history(reader, self._now())))

    async def names(self) -> Names:
        found = await self._rows(_NAMES, (NEWEST_EXECUTIONS,))
        columns = [sorted({row[place] for row in found}) for place in range(4)]
        return Names(*columns)


def _history(reader: Reader, now: float) -> History:
    return SqlHistory(reader.execute("SELECT 1"), now, Bounds(), is_paused=True)


def _hour(reader: Reader, begin: int) -> Hour:
    ended: dict[str, int] = defaultdict(int)
    took: dict[float, int] = defaultdict(int)
    for how, is_refused, bound, count in reader.execute(_HOURS, (begin, begin + _HOUR)):
        ended["refused" if is_refused else how] += count
        if how in ("pass", "warning") and not is_refused:
            took[math.inf if bound == _LONGER else float(bound)] += count
    return Hour(begin, dict(ended), dict(took))
