"""What looking after the journal itself takes: the role for it."""

from __future__ import annotations

from typing import Protocol

from keptn_remedy.support.clock import Gap, Reading


class Maintenance(Protocol):
    """Looking after the journal itself."""

    @property
    def failure(self) -> str | None:
        """Why the last write failed, or the last rehearsal; None once both succeed again."""
        ...

    async def rehearse(self) -> None:
        """Do all that the next event needs, and take it back.

        Raises:
            JournalError: the event could not be stored.
        """
        ...

    @property
    def clock_ahead(self) -> float:
        """By how many seconds the clock that all its services go by was ahead of this machine's
        when it was opened; 0 where that is this machine's.
        """
        ...

    def is_served(self) -> bool:
        """Whether a service runs from this very file.

        Raises:
            JournalUnusable: one runs from another file, which was at this path before; or this
                process may not look.
        """
        ...

    def take_failure(self) -> str | None:
        """Why a write failed since this was asked last, even if one succeeded again."""
        ...

    async def take_over(self, reading: Reading) -> Gap:
        """Move what is stored along with the clocks, since their last reading; return what has
        happened since. Once, before anything is pruned or acts.

        Ages stay as they are. Where nobody knows how long no service ran, questions and undos wait
        their full time, and what is finished is kept as much longer. What lies in the future even
        so counts as new.
        """
        ...

    async def note_reading(self, reading: Reading) -> None:
        """Keep what the clocks say, for the next process and for those beside this one."""
        ...

    async def recover(self, grace: float) -> None:
        """Take over from the last process: its unsent reports are in doubt, and due when it has
        been gone for `grace` seconds.
        """
        ...

    async def prune(self, before: float, limit: int) -> int:
        """Delete executions that surely finished before that Unix time, and their effects, at most
        `limit`; returns how many. Those whose undo is wanted, under way or has its time are kept,
        and so is the newest execution: no handle is given twice.
        """
        ...

    async def close(self) -> None:
        """Store what is under way and let go of the journal."""
        ...
