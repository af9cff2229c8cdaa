"""What open executions wait for, as far as the journal knows: a person's answer, or their lane."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from keptn_remedy.events import ActionTriggered
from keptn_remedy.journal import Execution, Record, State
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.ops.models import MAX_ASKING

PAGE = 500
_OPEN: tuple[State, ...] = ("accepted", "started")
Lane = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Wait:
    """What one waits for: an answer `until` then, after which `default` holds; or the end of the
    execution that it is `behind`.
    """

    until: datetime | None = None
    default: str | None = None
    behind: str | None = None

    @property
    def state(self) -> str:
        return "waits for approval" if self.until else "waits"

    def __str__(self) -> str:
        if self.until:
            return f"until {when(self.until)}, then {self.default}"
        return f"behind {self.behind}"


@dataclass(frozen=True, slots=True)
class Waits:
    """Which executions wait. Whose turn it is, the service alone knows."""

    asking: Mapping[str, Wait]
    first: Mapping[Lane, str]

    @classmethod
    async def of(cls, journal: SqliteJournal) -> Waits:
        """As it is now."""
        asking = await journal.questions(MAX_ASKING)
        first, _ = await journal.waiting(sys.maxsize, busy=(), running=(), upto=0)
        return cls(
            {execution.id: _answer(execution) for execution in asking},
            {_lane(execution.trigger): execution.id for execution in first},
        )

    def of_one(self, record: Record) -> Wait | None:
        """What it waits for; None where that isn't known, or nothing."""
        if record.state == "finished":
            return None
        first = self.first.get(_lane(record), record.id)
        return self.asking.get(record.id) or (Wait(behind=first) if first != record.id else None)

    async def newest(self, journal: SqliteJournal, state: State | None, limit: int) -> list[Record]:
        """The newest that wait."""
        found: list[Record] = []
        for open_state in _OPEN if state is None else (state,):
            found += await self._open(journal, open_state, limit)
        return sorted(found, key=lambda record: -record.seq)[:limit]

    async def _open(self, journal: SqliteJournal, state: State, limit: int) -> list[Record]:
        found: list[Record] = []
        async for record in _newest_first(journal, state):
            if self.of_one(record):
                found.append(record)
            if len(found) == limit:
                break
        return found


def when(moment: datetime) -> str:
    """A moment as people copy it."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def _newest_first(journal: SqliteJournal, state: State) -> AsyncIterator[Record]:
    before: int | None = None
    while page := await journal.records(state=state, before=before, limit=PAGE):
        for record in page:
            yield record
        before = page[-1].seq


def _answer(execution: Execution) -> Wait:
    question = execution.question
    if question is None:
        raise LookupError(f"the execution {execution.id} asks nothing")
    return Wait(until=datetime.fromtimestamp(question.expires_at, UTC), default=question.default)


def _lane(of: ActionTriggered | Record) -> Lane:
    return of.project, of.stage, of.service
