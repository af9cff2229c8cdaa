"""Reading the journal for people: records, what changed among them, and the backlog."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.store import Reader, Store
from keptn_remedy.journal.values import (
    Backlog,
    Cursor,
    Execution,
    OwedReport,
    Record,
    Since,
    State,
    WholeRecord,
)

_START = Since(0, "", {})


class SqlRecords(Store):
    """The part of the journal that is read for people."""

    async def records(
        self,
        *,
        state: State | None = None,
        asking: bool = False,
        before: Cursor | None = None,
        limit: int = 100,
    ) -> list[Record]:
        # What is open has an index of its own, and may lie far back in a long history.
        look = sql.OPEN_RECORDS if state in ("accepted", "started") else sql.RECORDS
        if asking:
            look = sql.ASKING_RECORDS
        bound = (2**62 if before is None else before, state, limit)
        return await self._read(lambda reader: [*map(rows.record, reader.execute(look, bound))])

    async def asking(self, records: Collection[Record]) -> frozenset[str]:
        which = self._list([record.cursor for record in records])
        return frozenset(row[0] for row in await self._rows(sql.ASKING_OF, (which,)))

    async def records_after(self, after: Cursor | None, limit: int) -> list[Record]:
        return [
            rows.record(row) for row in await self._rows(sql.RECORDS_AFTER, (after or 0, limit))
        ]

    async def record(self, execution_id: str) -> WholeRecord | None:
        def read(reader: Reader) -> WholeRecord | None:
            row = reader.execute(sql.WHOLE, (execution_id,)).fetchone()
            if row is None:
                return None
            undelivered = reader.execute(sql.UNDELIVERED, (execution_id,)).fetchall()
            undone = reader.execute(sql.UNDO_OF, (execution_id,)).fetchone()
            failed = self._failed_attempts(reader, row[0])
            return rows.whole_record(row, undelivered, undone, failed)

        return await self._read(read)

    def _failed_attempts(self, reader: Reader, seq: int) -> Sequence[Any]:
        return reader.execute(sql.FAILED_ATTEMPTS, (seq,)).fetchall()

    async def changes(
        self, after: Since | None, limit: int, *, from_start: bool = False
    ) -> tuple[list[Record], Since]:
        def read(reader: Reader) -> tuple[list[Record], Since]:
            if after is None and not from_start:
                return [], _now(reader)
            return self._changed(reader, after or _START, limit)

        return await self._read_at_once(read)

    def _changed(self, reader: Reader, since: Since, limit: int) -> tuple[list[Record], Since]:
        since = _still_known(reader, since)
        newest, newest_id = since.newest, since.newest_id
        states: dict[int, State] = dict(reader.execute(sql.STATES, (newest,)))
        known = dict(since.open)
        moved = sorted(seq for seq in known if states.get(seq, "finished") != known[seq])[:limit]
        found = [rows.record(row) for row in reader.execute(sql.RECORDS_OF, (self._list(moved),))]
        for seq in moved:
            del known[seq]  # what was pruned meanwhile is not looked for any more
        look = reader.execute(sql.RECORDS_AFTER, (newest, limit - len(moved)))
        new = [rows.record(row) for row in look]
        if new:
            newest, newest_id = new[-1].cursor, new[-1].id
        known |= _open(found + new)
        return found + new, Since(newest, newest_id, known)

    async def next_in_lanes(self) -> list[Execution]:
        return await self._executions(sql.NEXT_IN_LANES, ())

    async def told(self, ids: Collection[str]) -> list[Record]:
        return [rows.record(row) for row in await self._rows(sql.TOLD, (self._list(ids),))]

    async def owed_reports(self, limit: int) -> list[OwedReport]:
        return [rows.owed_report(row) for row in await self._rows(sql.OWED_REPORTS, (limit,))]

    async def backlog(self) -> Backlog:
        *counts, opened_at, owed_at = (await self._rows(sql.BACKLOG, ()))[0]
        now = self._now()
        ages = (0.0 if at is None else max(0.0, now - at) for at in (opened_at, owed_at))
        return Backlog(*counts, *ages)


def _now(reader: Reader) -> Since:
    newest, newest_id = reader.execute(sql.NEWEST).fetchone() or (0, "")
    return Since(newest, newest_id, dict(reader.execute(sql.STATES, (newest,))))


def _still_known(reader: Reader, since: Since) -> Since:
    """Once the last one that was seen is gone, as it was pruned or the journal replaced, all count
    as new that are left.
    """
    row = reader.execute(sql.ID_OF, (since.newest,)).fetchone()
    return since if row and row[0] == since.newest_id else _START


def _open(records: Iterable[Record]) -> dict[int, State]:
    return {record.cursor: record.state for record in records if record.state != "finished"}
