"""When everything was paused, by whom and until when: what people ask the morning after."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.journal import Memories, Pause
from keptn_remedy.journal.remembered import entries

MOST = 50
"""So many pauses are kept, the newest ones."""
# In the journal's memory, under a name that no action can have.
_OWNER, _KEY = "", "brake"


@dataclass(frozen=True, slots=True)
class PastPause:
    """A pause: who set it and why, and who ended it. Times are Unix times in seconds; `until` is
    None while it lasts, `ended_by` where nobody knows, as when a file was removed.
    """

    by: str
    reason: str
    since: float
    until: float | None = None
    ended_by: str | None = None


class BrakeHistory:
    """Keeps pauses in the journal, as the running service hears of them."""

    def __init__(self, journal: Memories) -> None:
        self._journal = journal
        self._seen: Pause | None = None
        self._is_new = True

    async def note(self, pauses: Pauses, now: float) -> None:
        """Keep what has changed since the last call. Where another replica changes the list at the
        same time, the next call tries again.

        Raises:
            JournalError: it is not kept; the next call tries again.
        """
        current = pauses.current
        if current == self._seen and not self._is_new:
            return
        stored = await self._journal.recall(_OWNER, _KEY)
        known = entries(PastPause, stored)
        kept = _with(known, current, now, pauses.ended_by)
        if kept != known:
            as_json: Any = [asdict(each) for each in kept[-MOST:]]
            # Race: what another replica has noted since must not be lost.
            if not await self._journal.remember_instead(stored, _OWNER, _KEY, as_json):
                return
        self._seen, self._is_new = current, False


async def past_pauses(journal: Memories) -> list[PastPause]:
    """The pauses that are kept, the oldest first.

    Raises:
        JournalError: the journal can't be read.
    """
    return entries(PastPause, await journal.recall(_OWNER, _KEY))


def _with(
    known: list[PastPause], current: Pause | None, now: float, ended_by: str | None
) -> list[PastPause]:
    since = current.since.timestamp() if current else None
    if known and current and (known[-1].since, known[-1].by) == (since, current.by):
        return known
    kept = list(known)
    if kept and kept[-1].until is None:
        last = kept[-1]
        by = current.by if current else ended_by
        kept[-1] = PastPause(last.by, last.reason, last.since, now, by)
    if current and since is not None:
        kept.append(PastPause(current.by, current.reason, since))
    return kept
