"""What a replica, or a command, tells the others at once when it has changed something for them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Literal

from keptn_remedy.events import Report
from keptn_remedy.journal.errors import JournalError
from keptn_remedy.journal.postgres_sharing import SharedJournal
from keptn_remedy.journal.postgres_waking import SAY, Word
from keptn_remedy.journal.values import Ending, Execution, Pause, Unsent, Verdict


class TellingJournal(SharedJournal):
    """The parts of the journal whose changes others wait for."""

    async def finish(
        self, execution: Execution, ending: Ending, *, attempts: int, reports: Sequence[Report] = ()
    ) -> list[Unsent]:
        unsent = await super().finish(execution, ending, attempts=attempts, reports=reports)
        self._say("freed")
        if ending.undo:
            self._say("ordered")
        return unsent

    async def end_undo(
        self, execution_id: str, state: Literal["done", "refused", "failed"], message: str
    ) -> None:
        await super().end_undo(execution_id, state, message)
        self._say("freed")

    async def note_abort(self, execution_id: str, reason: str) -> bool:
        is_noted = await super().note_abort(execution_id, reason)
        await self._order(is_given=is_noted)
        return is_noted

    async def pause(self, by: str, reason: str) -> Pause:
        pause = await super().pause(by, reason)
        await self._order()
        return pause

    async def resume(self) -> Pause | None:
        ended = await super().resume()
        await self._order()
        return ended

    async def answer(
        self,
        execution_id: str,
        verdict: Verdict,
        by: str,
        reason: str | None,
        *,
        asked_at: float | None = None,
    ) -> str | None:
        why_not = await super().answer(execution_id, verdict, by, reason, asked_at=asked_at)
        await self._order(is_given=why_not is None)
        return why_not

    async def want_undo(
        self, execution_id: str, cause: str, by: str | None = None, reason: str | None = None
    ) -> str | None:
        why_not = await super().want_undo(execution_id, cause, by, reason)
        await self._order(is_given=why_not is None)
        return why_not

    async def resend(self, execution_id: str | None = None) -> list[int]:
        found = await super().resend(execution_id)
        await self._order(is_given=bool(found))
        return found

    def _say(self, word: Word) -> None:
        if self._replica:
            self._replica.say(word)

    async def _order(self, *, is_given: bool = True) -> None:
        if not is_given:
            return
        if self._replica:
            self._say("ordered")
            return
        with suppress(JournalError):  # it is stored, and is found by looking
            await self._run(lambda cursor: cursor.execute(SAY, ("0 ordered",)).fetchone())
