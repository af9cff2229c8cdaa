"""Timers of executions: what waits for nothing but time."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.store import Store
from keptn_remedy.journal.values import Execution


class Timer(NamedTuple):
    """Since when an execution waits, and when it goes on, both as Unix times in seconds."""

    since: float
    due: float


class Timers(Protocol):
    """The timers of executions; one that is over is kept."""

    async def set_timer(self, execution: Execution, seconds: float) -> None:
        """Let the execution wait so long from now. Processes that end meanwhile don't count as
        runs that never came to an end.

        Raises:
            JournalError: nothing was stored.
        """
        ...

    async def timer(self, execution: Execution) -> Timer | None:
        """The timer of the execution; None if it never had one."""
        ...


class SqlTimers(Store):
    """The part of the journal that keeps timers."""

    async def set_timer(self, execution: Execution, seconds: float) -> None:
        now = self._now()
        bound = {"now": now, "due": now + seconds, "seq": execution.handle}
        await self._write((sql.SET_TIMER, bound))

    async def timer(self, execution: Execution) -> Timer | None:
        found = await self._rows(sql.TIMER, (execution.handle,))
        return Timer(*found[0]) if found and found[0][1] is not None else None
