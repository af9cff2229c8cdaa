"""The durable record: executions, their plans, unsent reports, and what actions remember."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from keptn_remedy.action import JSON, Outcome, Plan
from keptn_remedy.events import ActionTriggered, Report

State = Literal["accepted", "started", "finished"]
T = TypeVar("T")

PAUSE_SECONDS = 1.0


class JournalError(Exception):
    """The journal can't be written or read now; nothing of the refused change was stored."""


class JournalUnusable(Exception):
    """The journal can't be opened by this process; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Execution:
    """Our handling of one trigger, while it is open.

    `runs` counts the processes that began it. `plan` is what a planned action decided on; `failure`
    is the outcome it is being undone for. `unreadable` says why the two could not be read.
    """

    seq: int
    trigger: ActionTriggered
    action: str
    runs: int = 0
    plan: Plan | None = None
    failure: Outcome | None = None
    unreadable: str | None = None

    @property
    def id(self) -> str:
        return self.trigger.id

    @property
    def lane(self) -> str:
        return lane(self.trigger)


@dataclass(frozen=True, slots=True)
class Record:
    """An execution as told to people, in short."""

    seq: int
    id: str
    state: State
    action: str
    context: str
    project: str
    stage: str
    service: str
    accepted_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    reported_at: datetime | None
    attempts: int
    status: str | None
    result: str | None
    message: str | None


@dataclass(frozen=True, slots=True)
class WholeRecord(Record):
    """An execution as told to people, whole: with the reports that Keptn has not acknowledged, and
    the event as the JSON text that came in.
    """

    details: Mapping[str, JSON]
    plan: Plan | None
    undelivered: tuple[Undelivered, ...]
    event: bytes


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A report that Keptn has not acknowledged: still to be sent, or parked for good."""

    kind: str
    state: Literal["unsent", "parked"]
    attempts: int
    due_at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True)
class Unsent:
    """A report in the outbox, and the action it is about. `doubtful`: it may have reached Keptn
    already.
    """

    seq: int
    report: Report
    attempts: int = 0
    doubtful: bool = False
    created_at: float = 0.0
    action: str | None = None


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much is open: executions not begun or running, reports unsent, reports parked; and since
    how long the oldest of the first two, 0 where there is none.
    """

    executions: int
    unsent: int
    parked: int
    oldest_open_seconds: float
    oldest_unsent_seconds: float


async def insist(write: Callable[[], Awaitable[T]], sleep: Callable[[float], Awaitable[None]]) -> T:
    """What must be stored, tried again for as long as the journal fails."""
    while True:
        try:
            return await write()
        except JournalError:
            await sleep(PAUSE_SECONDS)


def lane(trigger: ActionTriggered) -> str:
    """What runs in turn: executions of one project, stage and service."""
    return f"{trigger.project}\n{trigger.stage}\n{trigger.service}"


class Journal(Protocol):
    """What the service needs of a journal. Each write is durable once it returns.

    Every method raises `JournalError` when the journal can't be used; nothing is half done then.
    """

    @property
    def failure(self) -> str | None:
        """Why the last write failed; None once one succeeded again."""
        ...

    def take_failure(self) -> str | None:
        """Why a write failed since this was asked last, even if one succeeded again."""
        ...

    async def accept(self, trigger: ActionTriggered, action: str) -> Execution | None:
        """Store a trigger; None when its id is known."""
        ...

    async def begin(self, execution: Execution, started: Report) -> Unsent | None:
        """Note that a run begins. The report is stored, and returned, only the first time."""
        ...

    async def announce(self, execution: Execution, started: Report) -> Unsent | None:
        """As `begin`, for an execution that still waits for its turn."""
        ...

    async def keep_plan(self, execution: Execution, plan: Plan) -> None:
        """Store what is about to be applied."""
        ...

    async def keep_failure(self, execution: Execution, failure: Outcome) -> None:
        """Store that the plan is being undone, and the outcome that this leads to."""
        ...

    async def finish(
        self, execution: Execution, outcome: Outcome, attempts: int, reports: Sequence[Report]
    ) -> list[Unsent]:
        """Store the outcome and what Keptn must be told, once; empty when already finished."""
        ...

    async def waiting(
        self, limit: int, *, busy: Collection[str], running: Collection[int], upto: int
    ) -> tuple[list[Execution], int]:
        """The oldest open execution of each lane that isn't `busy`; and how many executions with a
        `seq` of at most `upto` are open and not `running`.
        """
        ...

    async def planned(self) -> list[Execution]:
        """Open executions that have a plan."""
        ...

    async def unannounced(self, before: float, limit: int) -> list[Execution]:
        """Executions accepted before that time whose `started` was not stored yet."""
        ...

    async def unsent(self, now: float, limit: int, busy: Collection[str]) -> list[Unsent]:
        """Reports that are due, the first of each execution, but for those executions."""
        ...

    async def next_due(
        self, known: Collection[int], busy: Collection[str]
    ) -> tuple[bool, float | None]:
        """Whether there are unsent reports but for those with these `seq`s; and when the next is
        due, but for those executions.
        """
        ...

    async def forget(self, delivered: Sequence[Unsent]) -> None:
        """Forget reports that Keptn has."""
        ...

    async def postpone(self, unsent: Unsent, due_at: float, reason: str) -> None:
        """Store the attempt, its doubt and when to try again."""
        ...

    async def park(
        self, unsent: Unsent, reason: str, log_entry: Report | None = None
    ) -> Unsent | None:
        """Keep a report that was refused for good, and what would follow it, out of the way; the
        log entry that tells of it is stored along, and returned.
        """
        ...

    async def owe(self, report: Report) -> Unsent:
        """Store a report that belongs to no trigger."""
        ...

    async def recover(self, grace: float) -> None:
        """Take over from the last process: its unsent reports are in doubt, and due after `grace`
        seconds.
        """
        ...

    async def recall(self, action: str, key: str) -> JSON:
        """What an action remembered under a key, or None."""
        ...

    async def remember(self, action: str, key: str, value: JSON) -> None:
        """Keep a value for an action; None forgets the key."""
        ...

    async def records(
        self, *, state: State | None = None, before: int | None = None, limit: int = 100
    ) -> list[Record]:
        """Executions, newest first, with a `seq` below `before`."""
        ...

    async def record(self, execution_id: str) -> WholeRecord | None:
        """One execution."""
        ...

    async def backlog(self) -> Backlog:
        """How much is open."""
        ...

    async def prune(self, before: float, limit: int) -> int:
        """Forget executions finished before that time, at most `limit`; returns how many."""
        ...

    async def close(self) -> None:
        """Store what is under way and let go of the journal."""
        ...
