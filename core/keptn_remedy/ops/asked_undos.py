"""Undos that agents ask people for: they wait in the journal until somebody decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final, Protocol

from keptn_remedy.action import JSON
from keptn_remedy.journal import JournalError, WholeRecord
from keptn_remedy.journal.protocol import Memories
from keptn_remedy.journal.remembered import entries

MOST_WAITING: Final = 20
_MOST_DENIED: Final = 50
_TRIES: Final = 20
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
    undo that was ordered on any road is waited for no more. What is settled for good leaves the
    list when it is read.

    Replicas change the lists at once: each change is made to the list as it was read, or again.
    """

    def __init__(self, journal: KeepsRecords, now: Callable[[], float]) -> None:
        self._journal = journal
        self._now = now

    async def ask(self, execution: str, reason: str) -> bool:
        """Ask, again with the newest reason; False where `MOST_WAITING` others wait already.

        Raises:
            JournalError: it can't be kept now.
        """
        for _ in range(_TRIES):
            stored = await self._journal.recall(_OWNER, _ASKED)
            others = [each for each in await self._open(stored) if each[0].execution != execution]
            if sum(waits for _, _, waits in others) >= MOST_WAITING:
                return False
            asked = [*(ask for ask, _, _ in others), AskedUndo(execution, reason, self._now())]
            if await self._replace(_ASKED, stored, asked):
                return True
        raise JournalError("others change what is asked for")

    async def deny(self, execution: str, by: str, reason: str, asked_at: str) -> bool:
        """Deny what was asked for at that time; False where it doesn't wait any more.

        Raises:
            JournalError: it can't be kept now.
        """
        wanted = (execution, asked_at)
        for _ in range(_TRIES):
            stored = await self._journal.recall(_OWNER, _DENIED)
            if wanted not in [(ask.execution, repr(ask.at)) for ask, _ in await self.waiting()]:
                return False
            denied = DeniedUndo(execution, by, reason, self._now())
            kept = [*entries(DeniedUndo, stored), denied][-_MOST_DENIED:]
            if await self._replace(_DENIED, stored, kept):
                return True
        raise JournalError("others change what is denied")

    async def waiting(self) -> list[tuple[AskedUndo, WholeRecord]]:
        """What waits for a person, the oldest first, with the executions."""
        stored = await self._journal.recall(_OWNER, _ASKED)
        kept = await self._open(stored)
        if len(kept) < len(entries(AskedUndo, stored)):
            # Race: whoever asks meanwhile wins, and the settled ones leave with the next look.
            with suppress(JournalError):
                await self._replace(_ASKED, stored, [ask for ask, _, _ in kept])
        return [(ask, record) for ask, record, waits in kept if waits]

    async def denied(self, execution: str) -> DeniedUndo | None:
        """Who denied the undo of an execution last."""
        return next((d for d in reversed(await self._denied()) if d.execution == execution), None)

    async def _open(self, stored: JSON) -> list[tuple[AskedUndo, WholeRecord, bool]]:
        """What isn't settled of what was asked for, and whether it waits for a person now: an undo
        that was ordered before may still fail.
        """
        asked = entries(AskedUndo, stored)
        denied = await self._denied() if asked else []
        found = list[tuple[AskedUndo, WholeRecord, bool]]()
        for ask in asked:
            if any(d.execution == ask.execution and d.at >= ask.at for d in denied):
                continue
            record = await self._journal.record(ask.execution)
            if record and not _is_settled(record, ask):
                found.append((ask, record, not _is_ordered(record)))
        return found

    async def _replace(
        self, key: str, stored: JSON, kept: Sequence[AskedUndo | DeniedUndo]
    ) -> bool:
        new: JSON = [asdict(each) for each in kept]
        return await self._journal.remember_instead(stored, _OWNER, key, new)

    async def _denied(self) -> list[DeniedUndo]:
        return entries(DeniedUndo, await self._journal.recall(_OWNER, _DENIED))


def _is_settled(record: WholeRecord, ask: AskedUndo) -> bool:
    """Whether it was undone, or somebody has ordered it since."""
    undo = record.undo
    if undo is None:
        return False
    asked_at = undo.asked_at.timestamp() if undo.asked_at else 0.0
    return undo.state == "done" or asked_at >= ask.at


def _is_ordered(record: WholeRecord) -> bool:
    return record.undo is not None and record.undo.state in ("wanted", "running")
