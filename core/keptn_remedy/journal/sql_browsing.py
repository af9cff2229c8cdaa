"""Reading for the page, in SQL: a connection and a thread apart from those of the service."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.address import Place
from keptn_remedy.journal.bounds import Bounds
from keptn_remedy.journal.browsing import (
    TOOK_SECONDS,
    ActedOn,
    Browsed,
    Browsing,
    Hour,
    Names,
    Refused,
    Result,
)
from keptn_remedy.journal.effects import SqlHistory
from keptn_remedy.journal.lock import existing
from keptn_remedy.journal.protocol import History
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.journal.store import Reader, Store
from keptn_remedy.journal.values import Cursor, Record

T = TypeVar("T")

# Names are taken from so many of the newest executions, targets from so many effects.
NEWEST_EXECUTIONS, NEWEST_EFFECTS = 2_000, 5_000
_HOUR = 3600
_ENDED = "iif(status = 'succeeded', result, status)"
_SAME = " AND ".join(
    f"(:{name} IS NULL OR {name} = :{name})" for name in ("project", "stage", "service", "action")
)
_SINCE = "(:since IS NULL OR accepted_at >= :since)"
# Each look walks back through an index that holds all it compares, and stops at the limit.
_OTHER = f"""
SELECT seq FROM executions INDEXED BY executions_other
WHERE state = 'finished' AND result <> 'pass' AND seq < :before AND %s AND {_SAME} AND {_SINCE}
ORDER BY seq DESC LIMIT :limit"""  # noqa: S608  our names
_OPEN = f"""
SELECT seq FROM executions INDEXED BY %s
WHERE %s state <> 'finished' AND seq < :before AND {_SAME} AND {_SINCE}
ORDER BY seq DESC LIMIT :limit"""  # noqa: S608
_ANY = f"""
SELECT seq FROM executions INDEXED BY executions_browsed
WHERE seq < :before AND {_SAME} AND {_SINCE} %s
ORDER BY seq DESC LIMIT :limit"""  # noqa: S608
_LOOKS: Mapping[Result | None, str] = {
    None: _ANY % "",
    "pass": _ANY % "AND state = 'finished' AND status = 'succeeded' AND result = 'pass'",
    "open": _OPEN % ("executions_open", ""),
    "waiting": _OPEN % ("executions_asking", f"question IS NOT NULL AND {sql.VERDICT} IS NULL AND"),
    "refused": _OTHER % f"{sql.RAIL} IS NOT NULL",
    "warning": _OTHER % f"{_ENDED} = 'warning'",
    "fail": _OTHER % f"{_ENDED} = 'fail'",
    "errored": _OTHER % "status = 'errored'",
    "aborted": _OTHER % "status = 'aborted'",
}
_REFUSED = f"""
SELECT {sql.RECORD}, {sql.RAIL}, json_extract(CAST(details AS TEXT), '$.rule')
FROM executions INDEXED BY executions_other
WHERE state = 'finished' AND result <> 'pass' AND {sql.RAIL} IS NOT NULL AND finished_at >= ?
ORDER BY seq DESC LIMIT ?"""  # noqa: S608
_BUCKET = " ".join(
    f"WHEN finished_at - accepted_at <= {bound} THEN {bound}" for bound in TOOK_SECONDS
)
_HOURS = f"""
SELECT {_ENDED}, {sql.RAIL} IS NOT NULL, CASE {_BUCKET} ELSE 9e999 END, count(*)
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
    WHERE seq > 0 ORDER BY seq DESC LIMIT ?)"""


class SqlBrowsing(Store):
    """The part of the journal that the page reads."""

    async def browse(
        self, browsed: Browsed, *, before: Cursor | None = None, limit: int = 50
    ) -> list[Record]:
        look = f"""
SELECT {sql.RECORD} FROM executions
WHERE seq IN ({_LOOKS[browsed.result]}) ORDER BY seq DESC"""  # noqa: S608
        bound = {
            "project": browsed.project,
            "stage": browsed.stage,
            "service": browsed.service,
            "action": browsed.action,
            "since": browsed.since,
            "before": 2**62 if before is None else before,
            "limit": limit,
        }
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


class SqliteBrowsing(SqlBrowsing, SqliteJournal):
    """A reader of the journal's file that serves the page."""

    async def stamp(self) -> object:
        return (await self._rows("PRAGMA data_version", ()))[0][0], id(self._reader)


def open_browsing(place: Place) -> Browsing | None:
    """Open the journal for the page, beside the service that has it open. None: it isn't a file.

    Raises:
        JournalUnusable: there is none.
    """
    return SqliteBrowsing(existing(place)) if isinstance(place, Path) else None


def _history(reader: Reader, now: float) -> History:
    return SqlHistory(reader.execute("SELECT 1"), now, Bounds(), is_paused=True)


def _hour(reader: Reader, begin: int) -> Hour:
    ended: dict[str, int] = defaultdict(int)
    took: dict[float, int] = defaultdict(int)
    for how, is_refused, bound, count in reader.execute(_HOURS, (begin, begin + _HOUR)):
        ended["refused" if is_refused else how] += count
        if how in ("pass", "warning") and not is_refused:
            took[math.inf if bound > TOOK_SECONDS[-1] else bound] += count
    return Hour(begin, dict(ended), dict(took))
