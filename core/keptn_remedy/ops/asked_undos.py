"""Undos that agents ask people for: they wait in the journal until somebody decides."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final, Protocol

from keptn_remedy.journal import WholeRecord
from keptn_remedy.journal.protocol import Memories
from keptn_remedy.journal.remembered import entries

MOST_WAITING: Final = 20
_MOST_DENIED: Final = 50
_OWNER, _ASKED, _DENIED = "", "asked undos", "denied undos"


class KeepsRecords(Memories, Protocol):
    """The part of the journal that is used here."""

    async def record(self, execution_id: str) -> WholeRecord | None: ...


@dataclass(frozen=True, slots=True)
class AskedUndo:
    """That somebody asked for the undo of an execution, at a Unix time in seconds."""

    execution: str
    reason: str
    at: float


@dataclass(frozen=True, slots=True)
class DeniedUndo:
    """That a person denied it."""

    execution: str
    by: str
    reason: str
    at: float


class AskedUndos:
    """Keeps what was asked for. What waits is worked out from the executions each time, so that an
    undo that was ordered on any road is waited for no more.
    """

    def __init__(self, journal: KeepsRecords, now: Callable[[], float]) -> None:
        self._journal = journal
        self._now = now
        self._changing = asyncio.Lock()

    async def ask(self, execution: str, reason: str) -> bool:
        """Ask, again with the newest reason; False where `MOST_WAITING` others wait already."""
        async with self._changing:
            others = [ask for ask, _ in await self.waiting() if ask.execution != execution]
            if len(others) >= MOST_WAITING:
                return False
            asked = [*others, AskedUndo(execution, reason, self._now())]
            await self._journal.remember(_OWNER, _ASKED, [asdict(each) for each in asked])
            return True

    async def deny(self, execution: str, by: str, reason: str, asked_at: str) -> bool:
        """Deny what was asked for at that time; False where it doesn't wait any more."""
        async with self._changing:
            if (execution, asked_at) not in [
                (ask.execution, repr(ask.at)) for ask, _ in await self.waiting()
            ]:
                return False
            denied = DeniedUndo(execution, by, reason, self._now())
            kept = [*await self._denied(), denied][-_MOST_DENIED:]
            await self._journal.remember(_OWNER, _DENIED, [asdict(each) for each in kept])
            return True

    async def waiting(self) -> list[tuple[AskedUndo, WholeRecord]]:
        """What waits for a person, the oldest first, with the executions."""
        kept = entries(AskedUndo, await self._journal.recall(_OWNER, _ASKED))
        denied = await self._denied() if kept else []
        found = list[tuple[AskedUndo, WholeRecord]]()
        for ask in kept:
            is_denied = any(d.execution == ask.execution and d.at >= ask.at for d in denied)
            record = None if is_denied else await self._journal.record(ask.execution)
            if record and not _is_ordered(record, ask):
                found.append((ask, record))
        return found

    async def denied(self, execution: str) -> DeniedUndo | None:
        """Who denied the undo of an execution last."""
        return next((d for d in reversed(await self._denied()) if d.execution == execution), None)

    async def _denied(self) -> list[DeniedUndo]:
        return entries(DeniedUndo, await self._journal.recall(_OWNER, _DENIED))


def _is_ordered(record: WholeRecord, ask: AskedUndo) -> bool:
    undo = record.undo
    if undo is None:
        return False
    asked_at = undo.asked_at.timestamp() if undo.asked_at else 0.0
    return undo.state in ("wanted", "running", "done") or asked_at >= ask.at
