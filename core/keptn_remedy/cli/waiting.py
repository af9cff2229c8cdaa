"""What open executions wait for, as far as the journal knows: an approval, or their lane."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from keptn_remedy.cli.terminal import when
from keptn_remedy.events import ActionTriggered
from keptn_remedy.journal import Cursor, Execution, Record, Records, State

PAGE = 500
# More than are ever open: each blocks a sequence until a person answers.
MAX_ASKING = 10_000
_OPEN: tuple[State, ...] = ("accepted", "started")
# What an approval's default makes of an execution that nobody answers.
VERDICTS = {"deny": "denied", "approve": "approved"}
Lane = tuple[str, str, str]


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
    async def of(cls, journal: Records) -> Waits:
        """Read from the journal; the picture ages from then on."""
        asking = await journal.questions(MAX_ASKING)
        first = await journal.next_in_lanes()
        return cls(
            {execution.id: _answer(execution) for execution in asking},
            {_lane(execution.trigger): execution.id for execution in first},
        )

    def of_one(self, record: Record) -> Wait | None:
        """What this execution waits for; None if for nothing that the journal knows."""
        if record.state == "finished":
            return None
        first = self.first.get(_lane(record), record.id)
        return self.asking.get(record.id) or (Wait(behind=first) if first != record.id else None)

    async def newest(self, journal: Records, state: State | None, limit: int) -> list[Record]:
        """The newest executions that wait, at most `limit` of them."""
        found: list[Record] = []
        for open_state in _OPEN if state is None else (state,):
            found += await self._open(journal, open_state, limit)
        return sorted(found, key=lambda record: -record.cursor)[:limit]

    async def _open(self, journal: Records, state: State, limit: int) -> list[Record]:
        found: list[Record] = []
        async for record in _newest_first(journal, state):
            if self.of_one(record):
                found.append(record)
            if len(found) == limit:
                break
        return found


async def _newest_first(journal: Records, state: State) -> AsyncIterator[Record]:
    before: Cursor | None = None
    while page := await journal.records(state=state, before=before, limit=PAGE):
        for record in page:
            yield record
        before = page[-1].cursor


def _answer(execution: Execution) -> Wait:
    question = execution.question
    if question is None:
        raise LookupError(f"the execution {execution.id} asks nothing")
    until = datetime.fromtimestamp(question.expires_at, UTC)
    return Wait(until=until, unanswered=VERDICTS[question.default])


def _lane(of: ActionTriggered | Record) -> Lane:
    return of.project, of.stage, of.service
