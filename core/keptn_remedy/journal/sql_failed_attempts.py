"""Attempts that failed, in SQL."""

from __future__ import annotations

from keptn_remedy.journal.store import Store
from keptn_remedy.journal.values import Execution

MOST_KEPT = 20
_NOTE = """
INSERT INTO failed_attempts (execution, failed_at, phase, number, cause)
VALUES (:execution, :now, :phase, :number, :cause)"""
_DROP_OLDER = """
DELETE FROM failed_attempts WHERE execution = :execution AND seq <= (
    SELECT seq FROM failed_attempts WHERE execution = :execution
    ORDER BY seq DESC LIMIT 1 OFFSET :kept)"""


class SqlFailedAttempts(Store):
    """The part of the journal that keeps why attempts failed."""

    async def note_failed_attempt(
        self, execution: Execution, phase: str, number: int, cause: str
    ) -> None:
        of_it = {"execution": execution.handle}
        said = {"now": self._now(), "phase": phase, "number": number, "cause": cause}
        drop_older = _DROP_OLDER, of_it | {"kept": MOST_KEPT}
        await self._write_for(execution.handle, (_NOTE, of_it | said), drop_older)
