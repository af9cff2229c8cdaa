"""How many requests of agents wait for a person, of which there is a most."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from keptn_remedy.events import REQUEST
from keptn_remedy.journal import Criteria, Record, WholeRecord

_MOST_READ: Final = 500


class FindsExecutions(Protocol):
    """The part of the journal that is used here."""

    async def search(self, criteria: Criteria, *, limit: int = ...) -> list[Record]: ...

    async def record(self, execution_id: str) -> WholeRecord | None: ...


class WaitingRequests:
    """Counts those that ask for approval, and those stored here that are yet to ask. `lock` is held
    from the count to the storing of another one.

    Of several replicas, none knows what others store while it counts, or what is yet to ask there.
    """

    def __init__(self, journal: FindsExecutions) -> None:
        self.lock = asyncio.Lock()
        self._journal = journal
        self._yet_to_ask: set[str] = set()

    def note(self, execution_id: str) -> None:
        """This one was stored."""
        self._yet_to_ask.add(execution_id)

    async def count(self) -> int:
        """How many there are.

        Raises:
            JournalError: the journal can't be read.
        """
        found = await self._journal.search(Criteria(asking=True), limit=_MOST_READ)
        asking = {record.id for record in found if record.id.startswith(REQUEST)}
        for execution_id in list(self._yet_to_ask):
            if execution_id in asking or not await self._waits(execution_id):
                self._yet_to_ask.discard(execution_id)
        return len(asking) + len(self._yet_to_ask)

    async def _waits(self, execution_id: str) -> bool:
        record = await self._journal.record(execution_id)
        if record is None or record.state == "finished":
            return False
        return record.question is None or record.question.verdict is None
