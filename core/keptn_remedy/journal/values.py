"""What the journal holds, as the values that the service works with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Literal, NamedTuple, NewType, Protocol, TypeVar

from keptn_remedy.action import JSON, Outcome, Plan
from keptn_remedy.events import ActionTriggered, Report
from keptn_remedy.journal.failed_attempts import FailedAttempt

State = Literal["accepted", "started", "finished"]
Verdict = Literal["approved", "denied"]
UndoState = Literal["armed", "wanted", "running", "done", "refused", "failed"]
Cursor = NewType("Cursor", int)
"""Where a page of records ended, and the next one goes on. Only the journal reads it."""


class Claimable(Protocol):
    """What is stored to be worked on. `is_claimed`: this process holds it, nobody else takes it."""

    @property
    def is_claimed(self) -> bool: ...


T = TypeVar("T", bound=Claimable)


class Claimed(NamedTuple, Generic[T]):
    """What was claimed at one look; whether the journal holds more that nobody claims; and the Unix
    time in seconds at which some of that will be due, None where it waits for what is claimed.
    """

    items: Sequence[T]
    is_left: bool
    due_at: float | None = None


@dataclass(frozen=True, slots=True)
class Since:
    """How far a reader of `changes` has come: the newest execution then, and the state of each that
    was open. Only the journal reads it.
    """

    newest: int
    newest_id: str
    open: Mapping[int, State]


@dataclass(frozen=True, slots=True)
class Question:
    """What an execution asks of people before it may act. Times are Unix times in seconds.

    `plan` is what it would do; None for an action that plans nothing. `rule` made it ask. Unless
    somebody gave a `verdict` by `expires_at`, the `default` becomes it, `by` nobody. `heeded`: the
    execution went on.
    """

    plan: Plan | None
    rule: str
    asked_at: float
    expires_at: float
    default: Literal["deny", "approve"] = "deny"
    verdict: Verdict | None = None
    by: str | None = None
    reason: str | None = None
    heeded: bool = False


@dataclass(slots=True)
class Execution:
    """Our handling of one trigger, while it is open.

    `runs` counts the processes that began it. `plan` is what a planned action decided on; `failure`
    is the outcome it is being undone for. `question` waits for people, or has their verdict;
    `aborted` is why it was aborted. `unreadable` says why these could not be read. `accepted_at` is
    the Unix time, in seconds, at which its trigger was stored. `handle` is the journal's own, and
    nobody else reads it. `is_claimed`: it is this process's to carry out. `has_begun`: it began in
    this process, and rested in the journal since; until `turn_until`, by the monotonic clock, it
    waits for a turn. `is_begun`: the step that stored it stored its begin as well.
    """

    handle: int
    trigger: ActionTriggered
    action: str
    runs: int = 0
    plan: Plan | None = None
    failure: Outcome | None = None
    unreadable: str | None = None
    question: Question | None = None
    aborted: str | None = None
    accepted_at: float = 0.0
    is_claimed: bool = False
    has_begun: bool = False
    is_begun: bool = False
    turn_until: float | None = None

    @property
    def id(self) -> str:
        return self.trigger.id

    @property
    def lane(self) -> str:
        return lane(self.trigger)


@dataclass(frozen=True, slots=True)
class OpenTask:
    """An open execution in short, for asking Keptn about it. `listed`: Keptn lists it as open."""

    id: str
    project: str
    stage: str
    context: str
    state: State
    listed: bool
    aborted: str | None
    action: str


@dataclass(frozen=True, slots=True)
class ClosedTask:
    """An execution that was closed as aborted, and how that ended here. `was_started`: a `started`
    was owed for it.
    """

    trigger: ActionTriggered
    action: str
    message: str
    was_started: bool


@dataclass(frozen=True, slots=True)
class Record:
    """An execution as shown to people, in short. `undone` is how its undo stands, if it has one."""

    cursor: Cursor
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
    undone: UndoState | None


@dataclass(frozen=True, slots=True)
class OpenReport:
    """A report that Keptn has not acknowledged: still to be sent, or parked for good."""

    kind: str
    state: Literal["unsent", "parked"]
    attempts: int
    due_at: datetime
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwedReport(OpenReport):
    """The same with whom it is about (None: no execution), and since when it is owed. `is_blocked`:
    the way to Keptn refused it. Only the journal reads the `handle`.
    """

    handle: int
    execution: str | None
    created_at: datetime
    is_blocked: bool


@dataclass(frozen=True, slots=True)
class Undo:
    """The undo of a finished execution: armed until the problem closes or `due_at`, then wanted,
    for a `cause`, by somebody or by itself (None); ended with a message.
    """

    state: UndoState
    on_closed: bool = False
    due_at: datetime | None = None
    cause: str | None = None
    by: str | None = None
    reason: str | None = None
    asked_at: datetime | None = None
    ended_at: datetime | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DueUndo(Undo):
    """An undo to be carried out now, with the execution it undoes."""

    execution: Execution


@dataclass(frozen=True, slots=True)
class Arm:
    """When a finished execution is to be undone: when its problem closes, or at a Unix time in
    seconds, or both.
    """

    on_closed: bool = False
    due_at: float | None = None


class UndoAtOnce(NamedTuple):
    """What became of undoing what an execution itself had to undo; `wanted`: it is still to be."""

    state: Literal["wanted", "done", "refused", "failed"]
    message: str | None = None


@dataclass(slots=True)
class Ending:
    """How an execution ended.

    `is_failure`: it did not help, even where its outcome is softened for Keptn; streaks count it.
    `arm`: when what it left is to be undone. `is_aborted`: Keptn had ended its task before.
    `undo`: what became of an undo that had to follow at once. `is_untouched`: it was admitted, and
    nothing of it has begun: no rail counts it.
    """

    outcome: Outcome
    is_failure: bool = False
    arm: Arm | None = None
    is_aborted: bool = False
    undo: UndoAtOnce | None = None
    is_untouched: bool = False


@dataclass(frozen=True, slots=True)
class WholeRecord(Record):
    """An execution as shown to people, whole: with the reports that Keptn has not acknowledged, and
    the event as the JSON text that came in.
    """

    details: Mapping[str, JSON]
    plan: Plan | None
    undelivered: tuple[OpenReport, ...]
    event: bytes
    question: Question | None = None
    aborted: str | None = None
    undo: Undo | None = None
    failed_attempts: tuple[FailedAttempt, ...] = ()


@dataclass(slots=True)
class Unsent:
    """A report in the outbox, and the action it is about. `doubtful`: it may have reached Keptn
    already. `handle` is the journal's own, and nobody else reads it. `is_claimed`: it is this
    process's to deliver.
    """

    handle: int
    report: Report
    attempts: int = 0
    doubtful: bool = False
    created_at: float = 0.0
    action: str | None = None
    is_claimed: bool = False

    @property
    def chain(self) -> str:
        """What is delivered one after the other: the reports of one execution."""
        return chain(self.report.execution, self.handle)


class Begun(NamedTuple):
    """An execution that was accepted, and the `started` that is owed since; None where it has not
    begun, as its lane is taken.
    """

    execution: Execution
    started: Unsent | None


@dataclass(frozen=True, slots=True)
class Backlog:
    """How much is open: executions not begun or running, reports unsent, reports parked; how many
    of the unsent the way to Keptn blocks, and why; and since how long the oldest of the first two
    is open, 0 where there is none.
    """

    executions: int
    unsent: int
    parked: int
    blocked: int
    blocked_because: str | None
    oldest_open_seconds: float
    oldest_unsent_seconds: float


@dataclass(frozen=True, slots=True)
class Pause:
    """The stop of everything that acts: by whom, why, and since when."""

    by: str
    reason: str
    since: datetime


class Effect(NamedTuple):
    """One target of an admitted execution: what rails count. For `settle` seconds after the
    execution's end it still counts as running, if it was `planned`.
    """

    target: str
    action: str
    project: str
    stage: str
    service: str
    context: str
    planned: bool
    settle: float = 0.0


class Alike(NamedTuple):
    """What effects that are counted together have in common; None stands for any."""

    target: str | None = None
    action: str | None = None
    project: str | None = None
    stage: str | None = None
    service: str | None = None


class Last(NamedTuple):
    """The newest effect on a target; times are Unix times in seconds, None while it runs. `handle`
    is the journal's own: `History.execution_id` reads it.
    """

    handle: int
    action: str
    admitted_at: float
    ended_at: float | None
    settled_at: float | None


def chain(execution: str | None, handle: int) -> str:
    """The chain of a report; one that belongs to no execution has a chain of its own."""
    return execution or f"report {handle}"


def lane(trigger: ActionTriggered) -> str:
    """What runs in turn: executions of one project, stage and service; those of a subscriber apart
    from all others, so that no action waits for it. A request is alone: it may wait for a person
    for hours, and must not keep back what Keptn triggers meanwhile.
    """
    apart = "" if trigger.task else f"\n{trigger.action}"
    if trigger.is_request:
        apart = f"\n{trigger.id}"
    return f"{trigger.project}\n{trigger.stage}\n{trigger.service}{apart}"


def lane_of(project: str, stage: str, service: str) -> str:
    """The lane of what Keptn waits for. `lane` says the same of an event, in one call."""
    return f"{project}\n{stage}\n{service}"
