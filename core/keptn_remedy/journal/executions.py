"""Executions in the SQLite journal: from their trigger to their outcome, and their records."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

import orjson

from keptn_remedy.action import Outcome
from keptn_remedy.events import ActionTriggered, NotACloudEvent, Report, Unusable, stored_trigger
from keptn_remedy.journal import (
    Ending,
    Execution,
    OpenTask,
    Record,
    State,
    Unsent,
    WholeRecord,
    lane,
    rows,
)
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.group_commit import Statement
from keptn_remedy.journal.reports import Reports
from keptn_remedy.journal.sqlite_file import json_list, owed
from keptn_remedy.journal.undos import ABORTED, FAILED_VERIFICATION, PROBLEM_CLOSED
from keptn_remedy.support import logs


class Executions(Reports):
    """The part of the journal that keeps executions."""

    async def accept(self, trigger: ActionTriggered, action: str) -> Execution | None:
        written = await self._write((sql.ACCEPT, _accepted(trigger, action, self._now())))
        return Execution(written.last_row, trigger, action) if written.rows else None

    async def begin(self, execution: Execution, started: Report) -> Unsent | None:
        return await self._start(execution, started, runs=1)

    async def announce(self, execution: Execution, started: Report) -> Unsent | None:
        return await self._start(execution, started, runs=0)

    async def _start(self, execution: Execution, started: Report, *, runs: int) -> Unsent | None:
        now = self._now()
        written = await self._write(
            (sql.OWE_STARTED, (*owed(started, now), execution.seq)),
            (sql.BEGIN, (now, runs, execution.seq)),
        )
        if not written.rows:
            return None
        return Unsent(written.last_row, started, created_at=now, action=execution.action)

    async def keep_failure(self, execution: Execution, failure: Outcome) -> None:
        await self._write(
            (
                "UPDATE executions SET failure = ? WHERE seq = ?",
                (orjson.dumps(failure), execution.seq),
            )
        )

    async def finish(
        self, execution: Execution, ending: Ending, *, attempts: int, reports: Sequence[Report] = ()
    ) -> list[Unsent]:
        now = self._now()
        finish = (now, attempts, *_ended_as(ending), execution.seq)
        owe: list[Statement] = [(sql.OWE_IF_CHANGED, owed(report, now)) for report in reports]
        is_refused = execution.id in self._refused
        if is_refused:
            owe.append((sql.PARK_AFTER_STARTED, (execution.id,)))
        last = _consequences(execution, ending, now)
        written = await self._write((sql.FINISH, finish), *owe, *last)
        self._refused.discard(execution.id)
        if not written.rows or is_refused:
            return []  # what isn't parked is fetched by `unsent`
        return _unsent(reports, written.last_row, now, execution.action)

    async def finish_lost(
        self, trigger: ActionTriggered, action: str, outcome: Outcome, report: Report
    ) -> list[Unsent]:
        now = self._now()
        bound = (*_accepted(trigger, action, now), now, *_outcome(outcome))
        written = await self._write(
            (sql.FINISH_LOST, bound), (sql.OWE_IF_CHANGED, owed(report, now))
        )
        return _unsent([report], written.last_row, now, action) if written.rows else []

    async def waiting(
        self, limit: int, *, busy: Collection[str], running: Collection[int], upto: int
    ) -> tuple[list[Execution], int]:
        # Written out here: in the reading thread the collections may have changed.
        busy_lanes, running_seqs = json_list(busy), json_list(running)

        def read(reader: sqlite3.Connection) -> tuple[list[Execution], int]:
            reader.execute("BEGIN")  # both of one moment
            try:
                found = reader.execute(sql.WAITING, (busy_lanes, limit)).fetchall()
                waiting = reader.execute(sql.COUNT_WAITING, (upto, running_seqs)).fetchone()[0]
            finally:
                reader.execute("COMMIT")
            return rows.executions(found), waiting

        return await self._read(read)

    async def planned(self) -> list[Execution]:
        return rows.executions(await self._rows(sql.PLANNED, ()))

    async def unannounced(self, before: float, limit: int) -> list[Execution]:
        return rows.executions(await self._rows(sql.UNANNOUNCED, (before, limit)))

    async def open_tasks(self, before: float) -> list[OpenTask]:
        return [rows.open_task(row) for row in await self._rows(sql.OPEN_TASKS, (before,))]

    async def note_listed(self, ids: Collection[str]) -> None:
        await self._write((sql.NOTE_LISTED, (json_list(ids),)))

    async def note_abort(self, execution_id: str, reason: str) -> bool:
        written = await self._write((sql.NOTE_ABORT, (reason, execution_id)))
        return bool(written.rows)

    async def known(self, ids: Collection[str]) -> set[str]:
        return {row[0] for row in await self._rows(sql.KNOWN, (json_list(ids),))}

    async def trigger(self, execution_id: str) -> ActionTriggered | None:
        for (event,) in await self._rows(sql.TRIGGER, (execution_id,)):
            try:
                return stored_trigger(event)
            except (NotACloudEvent, Unusable) as error:
                logs.logger().error(
                    "an execution can't be read", id=execution_id, reason=str(error)
                )
        return None

    async def records(
        self, *, state: State | None = None, before: int | None = None, limit: int = 100
    ) -> list[Record]:
        # What is open has an index of its own, and may lie far back in a long history.
        look = sql.OPEN_RECORDS if state in ("accepted", "started") else sql.RECORDS
        newest = 2**62 if before is None else before
        return [rows.record(row) for row in await self._rows(look, (newest, state, limit))]

    async def records_after(self, after: int, limit: int) -> list[Record]:
        """Executions, oldest first, with a `seq` above `after`."""
        return [rows.record(row) for row in await self._rows(sql.RECORDS_AFTER, (after, limit))]

    async def record(self, execution_id: str) -> WholeRecord | None:
        def read(reader: sqlite3.Connection) -> WholeRecord | None:
            row = reader.execute(sql.WHOLE, (execution_id,)).fetchone()
            if row is None:
                return None
            undelivered = reader.execute(sql.UNDELIVERED, (execution_id,)).fetchall()
            undone = reader.execute(sql.UNDO_OF, (execution_id,)).fetchone()
            return rows.whole_record(row, undelivered, undone)

        return await self._read(read)

    async def prune(self, before: float, limit: int) -> int:
        def prune(cursor: sqlite3.Cursor) -> int:
            found = [row[0] for row in cursor.execute(sql.PRUNABLE, (before, limit))]
            for statement in sql.PRUNE:
                cursor.execute(statement, (json_list(found),))
            cursor.execute(sql.PRUNE_PARKED, (before,))
            return len(found)

        return await self._run(prune)


def _accepted(trigger: ActionTriggered, action: str, now: float) -> tuple[Any, ...]:
    return (
        trigger.id,
        lane(trigger),
        action,
        trigger.context,
        trigger.project,
        trigger.stage,
        trigger.service,
        now,
        trigger.body,
    )


def _consequences(execution: Execution, ending: Ending, now: float) -> list[Statement]:
    """What the end of an execution changes besides the execution."""
    judged = "aborted" if ending.is_aborted else "failed" if ending.is_failure else "helped"
    found: list[Statement] = [(sql.END_EFFECTS, (now, now, judged, execution.seq))]
    if ending.is_aborted:
        found.append((sql.DROP_QUESTION, (execution.seq,)))
    if arm := ending.arm:
        bound = (arm.on_closed, arm.due_at, PROBLEM_CLOSED, now, execution.seq)
        found.append((sql.ARM, bound))
    if undo := ending.undo:
        cause = ABORTED if ending.is_aborted else FAILED_VERIFICATION
        found.append((sql.UNDO_AT_ONCE, (*undo, cause, now, execution.seq)))
    return found


def _ended_as(ending: Ending) -> tuple[Any, ...]:
    status, result, *rest = _outcome(ending.outcome)
    return ("aborted", "fail", *rest) if ending.is_aborted else (status, result, *rest)


def _outcome(outcome: Outcome) -> tuple[Any, ...]:
    details = orjson.dumps(outcome.details, default=str, option=orjson.OPT_NON_STR_KEYS)
    return (outcome.status, outcome.result, outcome.message, details)


def _unsent(reports: Sequence[Report], last: int, now: float, action: str) -> list[Unsent]:
    """The reports as stored in one go; `last` is the last one's row."""
    seqs = range(last - len(reports) + 1, last + 1)
    return [
        Unsent(seq, report, created_at=now, action=action)
        for seq, report in zip(seqs, reports, strict=True)
    ]
