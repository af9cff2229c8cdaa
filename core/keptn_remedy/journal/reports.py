"""Reports to Keptn in the journal, until they are acknowledged."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from keptn_remedy.events import Report
from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.claims import Claims
from keptn_remedy.journal.errors import JournalError
from keptn_remedy.journal.notified import note
from keptn_remedy.journal.store import Cursor, Reader, Statement, Store, owed
from keptn_remedy.journal.values import Claimed, Record, Unsent, chain

# How many may be stored while the journal is asked, without anything counting as left there.
STRANGERS = 100


class SqlReports(Store):
    """The part of the journal that keeps reports."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Executions whose `started` was refused for good.
        self._refused: set[str] = set()
        self._in_hand = Claims[int]()

    async def claim_reports(self, limit: int) -> Claimed[Unsent]:
        held, groups = self._list(self._in_hand.held), self._list(self._in_hand.groups)
        look = {"held": held, "busy": groups, "now": self._now()}
        most = limit + STRANGERS

        def read(reader: Reader) -> tuple[list[Unsent], float | None, list[int]]:
            unclaimed = self._in_hand.missing(reader.execute(sql.UNSENT), most)
            if not unclaimed:
                return [], None, unclaimed
            found = reader.execute(sql.DUE_REPORTS, {**look, "limit": limit})
            due = [rows.unsent(row) for row in found]
            next_due = reader.execute(sql.NEXT_DUE, look).fetchone()
            return due, next_due[0] if next_due else None, unclaimed

        with self._in_hand.looking():
            due, due_at, unclaimed = await self._read_at_once(read)
            taken = [u for u in due if self._in_hand.take_found(u.chain, u.handle)]
        is_left = len(unclaimed) == most or not self._in_hand.held >= set(unclaimed)
        return Claimed(taken, is_left, due_at)

    def release_report(self, unsent: Unsent) -> None:
        self._in_hand.drop(unsent.handle)

    async def forget(self, delivered: Sequence[Unsent]) -> None:
        finished = [u.report.execution or "" for u in delivered if u.report.kind == "finished"]
        await self._mark_told([u.handle for u in delivered], finished, self._now())
        for unsent in delivered:
            self.release_report(unsent)

    async def postpone(
        self, unsent: Unsent, due_at: float, reason: str, *, is_blocked: bool = False
    ) -> None:
        await self._write(
            (
                sql.POSTPONE,
                {
                    "attempts": unsent.attempts,
                    "doubtful": unsent.doubtful,
                    "due_at": due_at,
                    "reason": reason,
                    "blocked": is_blocked,
                    "seq": unsent.handle,
                },
            )
        )
        self.release_report(unsent)

    async def park(
        self, unsent: Unsent, reason: str, log_entry: Report | None = None
    ) -> Unsent | None:
        report, now = unsent.report, self._now()
        parked = {"seq": unsent.handle, "execution": report.execution, "kind": report.kind}
        statements: list[Statement] = [(sql.PARK, {**parked, "reason": reason})]
        if log_entry:
            statements.append((sql.OWE, owed(log_entry, now)))
        # A refused log entry is nobody's loss.
        if report.kind != "log.error":
            key = f"parked {report.kind} {report.execution}"
            statements.append(note(key, "parked", report.execution, now))
        if report.kind == "started" and report.execution:
            self._refused.add(report.execution)
        written = await self._write_about(unsent.handle, *statements)
        self.release_report(unsent)
        with suppress(JournalError):  # it is stored: whoever insists must not store it twice
            if await self._rows(sql.IS_FINISHED, (report.execution,)):
                self._refused.discard(report.execution or "")
        if log_entry is None or not written.last_row:
            return None
        return self._claimed_report(written.last_row, log_entry, now)

    async def resend(self, execution_id: str | None = None) -> list[int]:
        def resend(cursor: Cursor) -> list[int]:
            parked = cursor.execute(sql.PARKED, {"execution": execution_id})
            found = [row[0] for row in parked]
            if found:
                cursor.execute(sql.RESEND, (self._now(), self._list(found)))
                cursor.execute(sql.GIVE_ORDER)
            return found

        return await self._run(resend)

    async def owe(self, report: Report) -> Unsent:
        now = self._now()
        written = await self._write((sql.OWE, owed(report, now)))
        return self._claimed_report(written.last_row, report, now)

    async def owe_again(self, record: Record, reports: Sequence[Report]) -> list[Unsent]:
        now = self._now()

        def owe(cursor: Cursor) -> list[int]:
            told = cursor.execute(sql.IS_TOLD, {"id": record.id, "state": record.state})
            if told.fetchone() is None:
                return []
            return [cursor.execute(sql.OWE, owed(r, now)).lastrowid or 0 for r in reports]

        handles = await self._run(owe)
        return self._claimed_reports(reports, handles, now, record.action)

    async def recover(self, grace: float) -> None:
        # The last process was gone when the lock was taken: what it sent left before that.
        since = self._now() if self._locked_at is None else self._locked_at
        await self._write((sql.DOUBT, (since + grace,)))
        self._refused = {row[0] for row in await self._rows(sql.REFUSED, ())}

    def _claimed_reports(
        self, reports: Sequence[Report], handles: Sequence[int], now: float, action: str
    ) -> list[Unsent]:
        """The reports as they were stored; none where they were not."""
        stored = zip(handles, reports, strict=False)
        return [self._claimed_report(handle, report, now, action) for handle, report in stored]

    def _claimed_report(
        self, handle: int, report: Report, now: float, action: str | None = None
    ) -> Unsent:
        # A look may have been quicker: then the report is its to deliver.
        is_claimed = self._in_hand.take(chain(report.execution, handle), handle)
        return Unsent(handle, report, created_at=now, action=action, is_claimed=is_claimed)
