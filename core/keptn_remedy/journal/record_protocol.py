"""What people read in the journal: the role for it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from keptn_remedy.journal.search import Search
from keptn_remedy.journal.values import (
    Backlog,
    Cursor,
    Execution,
    OwedReport,
    Pause,
    Record,
    Since,
    State,
    WholeRecord,
)


class Records(Search, Protocol):
    """Reading for people: never in the way of the service, which may run in another process."""

    async def records(
        self,
        *,
        state: State | None = None,
        asking: bool = False,
        before: Cursor | None = None,
        limit: int = 100,
    ) -> list[Record]:
        """Executions, newest first, from before that one on; `asking`: which wait for a verdict."""
        ...

    async def asking(self, records: Collection[Record]) -> frozenset[str]:
        """The ids of those that wait for a verdict."""
        ...

    async def records_after(self, after: Cursor | None, limit: int) -> list[Record]:
        """Executions, oldest first, after that one or from the oldest on."""
        ...

    async def record(self, execution_id: str) -> WholeRecord | None:
        """One execution, whole."""
        ...

    async def changes(
        self, after: Since | None, limit: int, *, from_start: bool = False
    ) -> tuple[list[Record], Since]:
        """Executions that are new or changed their state, at most so many; and where to go on. None
        begins now, or with `from_start` at the oldest execution.

        Each state that an execution has at a look is reported at least once, however late the look;
        states that came and went between two looks are skipped, and what was pruned is not
        reported. What changed comes first, in the order of acceptance, then what is new.
        """
        ...

    async def next_in_lanes(self) -> list[Execution]:
        """The oldest open execution of each lane."""
        ...

    async def questions(self, limit: int) -> list[Execution]:
        """As in `Questions`."""
        ...

    async def paused(self) -> Pause | None:
        """As in `Admissions`."""
        ...

    async def told(self, ids: Collection[str]) -> list[Record]:
        """Those executions of which Keptn has acknowledged every report so far; none that were
        aborted.
        """
        ...

    async def owed_reports(self, limit: int) -> list[OwedReport]:
        """Reports that Keptn has not acknowledged: parked ones first, then those to be sent."""
        ...

    async def backlog(self) -> Backlog:
        """How much is open."""
        ...

    async def close(self) -> None:
        """Let go of the journal."""
        ...
