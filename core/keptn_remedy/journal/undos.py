"""Undos of finished executions in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.notified import note_undone
from keptn_remedy.journal.store import Cursor, Store
from keptn_remedy.journal.values import DueUndo, Undo

PROBLEM_CLOSED = "problem closed"
TIME_IS_UP = "time is up"
FAILED_VERIFICATION = "failed verification"
ABORTED = "aborted"
BEING_UNDONE = "it is being undone"


class SqlUndos(Store):
    """The part of the journal that keeps undos."""

    async def want_undo(
        self, execution_id: str, cause: str, by: str | None = None, reason: str | None = None
    ) -> str | None:
        now = self._now()

        def want(cursor: Cursor) -> str | None:
            row = cursor.execute(sql.UNDOABLE, (execution_id,)).fetchone()
            if why_not := _not_undoable(row):
                return why_not
            seq, context = row[:2]
            wanted = {"cause": cause, "who": by, "reason": reason, "now": now}
            cursor.execute(sql.WANT_UNDO, {"seq": seq, "context": context, **wanted})
            # Another replica may have begun it since it was looked at.
            return None if cursor.rowcount else BEING_UNDONE

        return await self._run(want)

    async def problem_closed(self, context: str) -> int:
        def close(cursor: Cursor) -> int:
            wanted = {"cause": PROBLEM_CLOSED, "now": self._now(), "context": context}
            # What another replica finishes meanwhile is waited for, and is found as armed.
            still_open = cursor.execute(sql.CLOSE_OPEN, (context,)).rowcount
            return still_open + cursor.execute(sql.CLOSE_ARMED, wanted).rowcount

        return await self._run(close)

    async def due_undos(self, now: float, limit: int) -> list[DueUndo]:
        found = rows.due_undos(await self._rows(sql.DUE_UNDOS, (now, limit)))
        return [replace(undo, cause=undo.cause or TIME_IS_UP) for undo in found]

    async def undos_begun(self) -> list[DueUndo]:
        return rows.due_undos(await self._rows(sql.UNDOS_BEGUN, ()))

    async def begin_undo(self, execution_id: str) -> bool:
        bound = {"cause": TIME_IS_UP, "now": self._now(), "id": execution_id}
        written = await self._write((sql.BEGIN_UNDO, bound))
        return bool(written.rows)

    async def put_off_undo(self, execution_id: str) -> None:
        await self._write((sql.PUT_OFF_UNDO, (execution_id,)))

    async def end_undo(
        self, execution_id: str, state: Literal["done", "refused", "failed"], message: str
    ) -> None:
        now = self._now()
        ended = {"state": state, "message": message, "now": now, "id": execution_id}
        await self._write((sql.END_UNDO, ended), note_undone(now, id=execution_id))

    async def overtaken(self, execution_id: str) -> str | None:
        found = await self._rows(sql.OVERTAKEN, (execution_id,))
        return found[0][0] if found else None

    async def undo_of(self, execution_id: str) -> Undo | None:
        found = await self._rows(sql.UNDO_OF, (execution_id,))
        return rows.undo(found[0]) if found else None


def _not_undoable(row: Sequence[Any] | None) -> str | None:
    if row is None:
        return "there is no such execution"
    _, _, state, plan, undo = row
    if state != "finished":
        return "the execution has not finished"
    if plan is None:
        why = "it was refused, failed before it acted, or its action makes no plan"
        return f"{why}: nothing can be put back"
    stored = rows.plan_of(plan)
    if not (stored and stored.changes):
        return "it changed nothing"
    return {"done": "it is undone already", "running": BEING_UNDONE}.get(undo)
