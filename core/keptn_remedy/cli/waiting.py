"""What open executions wait for, as far as the journal knows: an approval, or their lane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from keptn_remedy.cli.terminal import when
from keptn_remedy.journal import Criteria, Cursor, Lane, Record, Search, State

PAGE = 500
_OPEN: tuple[State, ...] = ("accepted", "started")
# What an approval's default makes of an execution that nobody answers.
VERDICTS = {"deny": "denied", "approve": "approved"}


@dataclass(frozen=True, slots=True)
class Wait:
    """What an execution waits for: an answer, `until` then, after which it is `unanswered` (denied
    or approved); or the end of the execution that it is `behind`.
    """

    until: datetime | None = None
    unanswered: str | None = None
    behind: str | None = None

    @property
    def state(self) -> str:
        return "waits for approval" if self.until else "waits"

    def __str__(self) -> str:
        if self.until:
            return f"until {when(self.until)}, then {self.unanswered}"
        return f"behind {self.behind}"


@dataclass(frozen=True, slots=True)
class Waits:
    """Which executions wait. Waiting for a slot or a target is known to the service alone."""

    asking: Mapping[str, Wait]
    first: Mapping[Lane, str]

    @classmethod
    async def of(cls, journal: Search) -> Waits:
        """Read from the journal; the picture ages from then on."""
        waiting = await journal.waiting()
        asking = {
            each: Wait(until=datetime.fromtimestamp(until, UTC), unanswered=VERDICTS[default])
            for each, (until, default) in waiting.asking.items()
        }
        return cls(asking, waiting.first)

    def of_one(self, record: Record) -> Wait | None:
        """What this execution waits for; None if for nothing that the journal knows."""
        if record.state == "finished":
            return None
        lane = record.project, record.stage, record.service
        first = self.first.get(lane, record.id)
        return self.asking.get(record.id) or (Wait(behind=first) if first != record.id else None)

    async def newest(self, journal: Search, criteria: Criteria, limit: int) -> list[Record]:
        """The newest executions that wait and match, at most `limit` of them."""
        found: list[Record] = []
        for state in _OPEN if criteria.state is None else (criteria.state,):
            found += await self._open(journal, replace(criteria, state=state), limit)
        return sorted(found, key=lambda record: -record.cursor)[:limit]

    async def _open(self, journal: Search, criteria: Criteria, limit: int) -> list[Record]:
        found: list[Record] = []
        async for record in _newest_first(journal, criteria):
            if self.of_one(record):
                found.append(record)
            if len(found) == limit:
                break
        return found


async def _newest_first(journal: Search, criteria: Criteria) -> AsyncIterator[Record]:
    before: Cursor | None = None
    while page := await journal.search(criteria, before=before, limit=PAGE):
        for record in page:
            yield record
        before = page[-1].cursor
