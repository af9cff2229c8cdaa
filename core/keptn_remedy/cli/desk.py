"""What commands need of the journal, or of a running service that is asked over HTTP."""

from __future__ import annotations

from typing import Protocol

from keptn_remedy.journal import (
    Cursor,
    OwedReport,
    Pause,
    Record,
    Search,
    Since,
    Verdict,
    WholeRecord,
)


class Desk(Search, Protocol):
    """Reading. The methods are as those of `journal.Records`."""

    async def record(self, execution_id: str) -> WholeRecord | None: ...

    async def records_after(self, after: Cursor | None, limit: int) -> list[Record]: ...

    async def changes(
        self, after: Since | None, limit: int, *, from_start: bool = False
    ) -> tuple[list[Record], Since]: ...

    async def owed_reports(self, limit: int) -> list[OwedReport]: ...

    async def close(self) -> None: ...


class OrderDesk(Desk, Protocol):
    """Reading and ordering. The methods are as those of `journal.Journal`."""

    async def answer(
        self,
        execution_id: str,
        verdict: Verdict,
        by: str,
        reason: str | None,
        *,
        asked_at: float | None = None,
    ) -> str | None: ...

    async def want_undo(
        self, execution_id: str, cause: str, by: str | None = None, reason: str | None = None
    ) -> str | None: ...

    async def pause(self, by: str, reason: str) -> Pause: ...

    async def resume(self) -> Pause | None: ...

    async def paused(self) -> Pause | None: ...

    async def forgive(self, target: str | None, by: str) -> int: ...

    async def resend(self, execution_id: str | None = None) -> list[int]: ...

    async def all_heard(self) -> bool: ...

    def is_served(self) -> bool: ...
