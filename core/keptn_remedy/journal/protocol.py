"""What the service needs of a journal, in roles, and what rails ask it about the past.

Every write is durable once it returns. Every method raises `JournalError` when the journal can't be
used; nothing is half done then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal, Protocol, TypeVar

from keptn_remedy.action import JSON, Outcome, Plan
from keptn_remedy.events import ActionTriggered, Report
from keptn_remedy.journal.episode_protocol import Episodes
from keptn_remedy.journal.failed_attempts import FailedAttempts
from keptn_remedy.journal.foreseen import NOTHING_FORESEEN, Foreseen
from keptn_remedy.journal.notifications import Notifications
from keptn_remedy.journal.ownership import Owned
from keptn_remedy.journal.search import Search
from keptn_remedy.journal.timers import Timers
from keptn_remedy.journal.values import (
    Alike,
    Backlog,
    Begun,
    Claimed,
    ClosedTask,
    Cursor,
    DueUndo,
    Effect,
    Ending,
    Execution,
    Last,
    OpenTask,
    OwedReport,
    Pause,
    Question,
    Record,
    Since,
    State,
    Undo,
    Unsent,
    Verdict,
    WholeRecord,
)
from keptn_remedy.support.clock import Gap, Reading

T = TypeVar("T")


class History(Protocol):
    """What rails ask about the past, inside the transaction that admits. The execution that asks
    has no effects yet.
    """

    @property
    def now(self) -> float:
        """The Unix time of the transaction, by the clock that stamps effects."""
        ...

    def pause(self) -> Pause | None:
        """What stops everything, if anything does."""
        ...

    def count(self, since: float, alike: Alike, limit: int | None = None) -> int:
        """Executions with such an effect, admitted at or after that Unix time. With a limit, what
        is below it may be any number below it: it need not be counted.

        Raises:
            TypeError: `alike` has neither a target, nor an action, nor a project and a stage.
        """
        ...

    def admitted_at(self, since: float, alike: Alike, place: int) -> float:
        """The Unix time at which one of those that `count` counts was admitted: the one in this
        place, where the oldest has 0; there must be so many.
        """
        ...

    def last(self, target: str) -> Last | None:
        """The newest effect on a target."""
        ...

    def execution_id(self, last: Last) -> str:
        """The id of its execution."""
        ...

    def effects(self, since: float, project: str, stage: str, limit: int | None = None) -> int:
        """How many effects a stage had at or after that Unix time: as many targets, or fewer. The
        limit is as in `count`.
        """
        ...

    def distinct(
        self, what: Literal["target", "service"], since: float, project: str, stage: str
    ) -> frozenset[str]:
        """What was affected in a stage at or after that Unix time: at most 1,000 of it."""
        ...

    def streak(self, action: str, target: str, context: str) -> int:
        """How many of the newest effects in a row did not help, up to 50.

        One did not help if its execution failed, or if the next one, or the one that asks, has the
        same Keptn context: it had to be asked for again. Those that run or were aborted are passed
        over. What was forgiven, and what came before, does not count.
        """
        ...

    def unsettled(self, now: float) -> int:
        """Planned executions that run, or whose effects still settle at that Unix time."""
        ...


class Triggers(Protocol):
    """What Keptn asks for, and what it ends."""

    async def accept(self, trigger: ActionTriggered, action: str) -> Execution | None:
        """Store a trigger; None when its id is known.

        The execution is claimed by the same step, unless another of its lane is: then it waits in
        the journal until `claim` finds it.
        """
        ...

    async def accept_and_begin(
        self, trigger: ActionTriggered, action: str, started: Report
    ) -> Begun | None:
        """As `accept` and `begin` in one step, unless an execution of its lane is claimed: then it
        is only accepted. None when its id is known.
        """
        ...

    async def known(self, ids: Collection[str]) -> set[str]:
        """Those of the ids that were accepted once."""
        ...

    async def trigger(self, execution_id: str) -> ActionTriggered | None:
        """The trigger of an execution; None when it is unknown or can't be read."""
        ...

    async def finish_lost(
        self, trigger: ActionTriggered, action: str, outcome: Outcome, report: Report
    ) -> list[Unsent]:
        """Store what an earlier journal lost, as finished; empty when its id is known."""
        ...

    async def open_tasks(self, before: float) -> list[OpenTask]:
        """Open executions that were accepted before that Unix time."""
        ...

    async def open_tasks_of(self, lane: str) -> list[OpenTask]:
        """Open executions of that lane."""
        ...

    async def closed_as_aborted(self, ids: Collection[str]) -> list[ClosedTask]:
        """Those of the ids that were closed as aborted, and of which no report is unsent."""
        ...

    async def answer_aborted(
        self, closed: ClosedTask, outcome: Outcome, reports: Sequence[Report]
    ) -> list[Unsent]:
        """Store another end of an execution that was closed as aborted, and the reports that Keptn
        is owed for it, once.
        """
        ...

    async def note_listed(self, ids: Collection[str]) -> None:
        """Store that Keptn lists these as open."""
        ...

    async def note_abort(self, execution_id: str, reason: str) -> bool:
        """Store why an execution is aborted. False: that is stored already, or it is not open."""
        ...


class Executions(Protocol):
    """The life of an execution after it was accepted."""

    async def claim(self, limit: int) -> Claimed[Execution]:
        """Claim the oldest open execution of each lane in which nothing is claimed, at most so
        many; those with a plan come first.
        """
        ...

    def release(self, execution: Execution) -> None:
        """End its claim, if it has one: it may be claimed anew, unless it has finished."""
        ...

    async def read_again(self, handle: int) -> Execution | None:
        """An execution that is claimed, as it is now; None if it is not open any more, or can't be
        read. Then its claim ends.
        """
        ...

    async def planned(self) -> list[Execution]:
        """Open executions that have a plan."""
        ...

    async def unannounced(self, before: float, limit: int) -> list[Execution]:
        """Executions accepted before that Unix time whose `started` was not stored yet, the oldest
        first.
        """
        ...

    async def announce(self, execution: Execution, started: Report | None) -> Unsent | None:
        """As `begin`, for an execution that still waits for its turn."""
        ...

    async def begin(self, execution: Execution, started: Report | None) -> Unsent | None:
        """Store that a run begins. The report, if there is one, is stored, and returned, only the
        first time. A run that only waits for an answer to a question does not count.
        """
        ...

    async def begun(self, before: float) -> list[str]:
        """Ids of open executions that were started until that Unix time, and whose `started` Keptn
        has acknowledged; none that were aborted.
        """
        ...

    async def keep_failure(self, execution: Execution, failure: Outcome) -> None:
        """Store that the plan is being undone, and the outcome that this leads to."""
        ...

    async def finish(
        self, execution: Execution, ending: Ending, *, attempts: int, reports: Sequence[Report] = ()
    ) -> list[Unsent]:
        """Store how an execution ended, and the reports that Keptn is owed, once; empty when it has
        already finished. Its claim ends.

        An aborted one gets the status aborted and the result fail. Its question is dropped.

        Raises:
            TaskEnded: an abort was noted in the meantime, and this is no aborted ending. Nothing
                was stored.
        """
        ...


class Admissions(Protocol):
    """What lets executions act, and what stops them."""

    async def admit(
        self,
        execution: Execution,
        plan: Plan | None,
        effects: Sequence[Effect],
        decide: Callable[[History], T | None],
        foreseen: Foreseen = NOTHING_FORESEEN,
    ) -> T | None:
        """Let an execution act: store its plan and effects, and drop its question. Or return what
        `decide` returned against it, and store nothing. None, without calling `decide`, when it was
        admitted before.

        `decide` is called in the transaction, in another thread, perhaps more than once. What it
        raises is raised here. `foreseen` is what it will ask.

        Raises:
            LookupError: the execution is not open.
        """
        ...

    async def forgive(self, target: str | None, by: str) -> int:
        """Let what did not help on a target, or on all, count no more. Returns on how many targets
        something failed or was asked for again; of a given one, whether anything was carried out.
        """
        ...

    async def pause(self, by: str, reason: str) -> Pause:
        """Stop everything that acts, instead of an earlier pause."""
        ...

    async def resume(self) -> Pause | None:
        """End the pause, and return it."""
        ...

    async def paused(self) -> Pause | None:
        """The pause, if there is one."""
        ...


class Reports(Protocol):
    """The reports that Keptn is owed, until it has acknowledged them."""

    async def claim_reports(self, limit: int) -> Claimed[Unsent]:
        """Claim the first unsent report of each execution of which none is claimed, as far as they
        are due, at most so many. A report that was just stored and returned is claimed already.
        """
        ...

    def release_report(self, unsent: Unsent) -> None:
        """End its claim, if it has one: it may be claimed anew."""
        ...

    async def forget(self, delivered: Sequence[Unsent]) -> None:
        """Delete reports that Keptn has, and end their claims."""
        ...

    async def postpone(
        self, unsent: Unsent, due_at: float, reason: str, *, is_blocked: bool = False
    ) -> None:
        """Store the attempt, its doubt and when to try again, and end the claim. `is_blocked`: the
        way to Keptn took no report.
        """
        ...

    async def park(
        self, unsent: Unsent, reason: str, log_entry: Report | None = None
    ) -> Unsent | None:
        """Keep a report that was refused for good, and what would follow it, out of the way, and
        end the claim; the log entry that tells of it is stored along, and returned.
        """
        ...

    async def resend(self, execution_id: str | None = None) -> list[int]:
        """Have the parked reports of an execution, or all, sent again; returns their handles."""
        ...

    async def owe_again(self, record: Record, reports: Sequence[Report]) -> list[Unsent]:
        """Store reports of an execution that Keptn has acknowledged and did not count. Empty where
        its state has changed, or some are still to be sent.
        """
        ...

    async def owe(self, report: Report) -> Unsent:
        """Store a report that belongs to no trigger."""
        ...


class Questions(Protocol):
    """What executions ask of people."""

    async def ask(self, execution: Execution, question: Question) -> None:
        """Store a question, instead of an earlier one; runs so far count no more."""
        ...

    async def answer(
        self,
        execution_id: str,
        verdict: Verdict,
        by: str,
        reason: str | None,
        *,
        asked_at: float | None = None,
    ) -> str | None:
        """Store the verdict on a question, once; or why it can't be taken. With `asked_at`, only on
        the question that was asked then: the next one may be about another plan.
        """
        ...

    async def close_question(self, execution: Execution) -> Question | None:
        """The question whose time is over, with the verdict that holds: somebody's, or else from
        now on its default, by nobody. None where it can't be read.
        """
        ...

    async def answered(self) -> list[str]:
        """Ids of open executions whose question has a verdict."""
        ...

    async def questions(self, limit: int) -> list[Execution]:
        """Open executions that wait for a verdict, oldest first."""
        ...


class Hearing(Protocol):
    """Whether the service has heard what people ordered: pauses, their ends, and reports to be sent
    again.
    """

    async def orders_given(self) -> int:
        """How many orders there were so far."""
        ...

    async def note_heard(self, orders: int) -> None:
        """Store that the first so many orders are in force."""
        ...

    async def all_heard(self) -> bool:
        """Whether every order so far is in force."""
        ...


class Undos(Protocol):
    """Undoing what finished executions changed."""

    async def want_undo(
        self, execution_id: str, cause: str, by: str | None = None, reason: str | None = None
    ) -> str | None:
        """Ask that a finished execution be undone; or why it can't be."""
        ...

    async def problem_closed(self, context: str) -> int:
        """Want the undos that wait for this; mark open executions, whose undo may come to wait for
        it; how many in all.
        """
        ...

    async def due_undos(self, now: float, limit: int) -> list[DueUndo]:
        """Undos to be carried out now; those that people asked for come first. The others wait for
        open undos of what acted on one of their targets later.
        """
        ...

    async def undos_begun(self) -> list[DueUndo]:
        """Undos under way, or cut off by the end of a process and not taken up since."""
        ...

    async def begin_undo(self, execution_id: str) -> bool:
        """Store that an undo begins, perhaps anew; False when it has ended, has to wait for
        another, or none was armed or wanted.
        """
        ...

    async def put_off_undo(self, execution_id: str) -> None:
        """Want an undo that has begun anew, later: it may not act now."""
        ...

    async def end_undo(
        self, execution_id: str, state: Literal["done", "refused", "failed"], message: str
    ) -> None:
        """Store how an undo ended, once."""
        ...

    async def overtaken(self, execution_id: str) -> str | None:
        """A later execution that helped on one of its targets, and is not undone."""
        ...

    async def undo_of(self, execution_id: str) -> Undo | None:
        """The undo of an execution, armed, under way or ended."""
        ...


class Memories(Protocol):
    """What an action, or the policy file, keeps between executions."""

    async def recall(self, action: str, key: str) -> JSON:
        """What an action remembered under a key, or None."""
        ...

    async def remember(self, action: str, key: str, value: JSON) -> None:
        """Keep a value for an action; None forgets the key."""
        ...

    async def remember_within(self, most: int, action: str, key: str, value: JSON) -> bool:
        """The same, unless the key is new and the action has so many keys; then False."""
        ...


class Records(Search, Protocol):
    """Reading for people: never in the way of the service, which may run in another process."""

    async def records(
        self,
        *,
        state: State | None = None,
        asking: bool = False,
        before: Cursor | None = None,
        limit: int = 100,
    ) -> list[Record]:
        """Executions, newest first, from before that one on; `asking`: which wait for a verdict."""
        ...

    async def asking(self, records: Collection[Record]) -> frozenset[str]:
        """The ids of those that wait for a verdict."""
        ...

    async def records_after(self, after: Cursor | None, limit: int) -> list[Record]:
        """Executions, oldest first, after that one or from the oldest on."""
        ...

    async def record(self, execution_id: str) -> WholeRecord | None:
        """One execution, whole."""
        ...

    async def changes(
        self, after: Since | None, limit: int, *, from_start: bool = False
    ) -> tuple[list[Record], Since]:
        """Executions that are new or changed their state, at most so many; and where to go on. None
        begins now, or with `from_start` at the oldest execution.

        Each state that an execution has at a look is reported at least once, however late the look;
        states that came and went between two looks are skipped, and what was pruned is not
        reported. What changed comes first, in the order of acceptance, then what is new.
        """
        ...

    async def next_in_lanes(self) -> list[Execution]:
        """The oldest open execution of each lane."""
        ...

    async def questions(self, limit: int) -> list[Execution]:
        """As in `Questions`."""
        ...

    async def paused(self) -> Pause | None:
        """As in `Admissions`."""
        ...

    async def told(self, ids: Collection[str]) -> list[Record]:
        """Those executions of which Keptn has acknowledged every report so far; none that were
        aborted.
        """
        ...

    async def owed_reports(self, limit: int) -> list[OwedReport]:
        """Reports that Keptn has not acknowledged: parked ones first, then those to be sent."""
        ...

    async def backlog(self) -> Backlog:
        """How much is open."""
        ...

    async def close(self) -> None:
        """Let go of the journal."""
        ...


class Maintenance(Protocol):
    """Looking after the journal itself."""

    @property
    def failure(self) -> str | None:
        """Why the last write failed, or the last rehearsal; None once both succeed again."""
        ...

    async def rehearse(self) -> None:
        """Do all that the next event needs, and take it back.

        Raises:
            JournalError: the event could not be stored.
        """
        ...

    @property
    def clock_ahead(self) -> float:
        """By how many seconds the clock that all its services go by was ahead of this machine's
        when it was opened; 0 where that is this machine's.
        """
        ...

    def is_served(self) -> bool:
        """Whether a service runs from this very file.

        Raises:
            JournalUnusable: one runs from another file, which was at this path before; or this
                process may not look.
        """
        ...

    def take_failure(self) -> str | None:
        """Why a write failed since this was asked last, even if one succeeded again."""
        ...

    async def take_over(self, reading: Reading) -> Gap:
        """Move what is stored along with the clocks, since their last reading; return what has
        happened since. Once, before anything is pruned or acts.

        Ages stay as they are. Where nobody knows how long no service ran, questions and undos wait
        their full time, and what is finished is kept as much longer. What lies in the future even
        so counts as new.
        """
        ...

    async def note_reading(self, reading: Reading) -> None:
        """Keep what the clocks say, for the next process and for those beside this one."""
        ...

    async def recover(self, grace: float) -> None:
        """Take over from the last process: its unsent reports are in doubt, and due when it has
        been gone for `grace` seconds.
        """
        ...

    async def prune(self, before: float, limit: int) -> int:
        """Delete executions that surely finished before that Unix time, and their effects, at most
        `limit`; returns how many. Those whose undo is wanted, under way or has its time are kept,
        and so is the newest execution: no handle is given twice.
        """
        ...

    async def close(self) -> None:
        """Store what is under way and let go of the journal."""
        ...


class Journal(
    Triggers,
    Executions,
    Admissions,
    Reports,
    Questions,
    Hearing,
    Undos,
    Notifications,
    Memories,
    Records,
    Maintenance,
    Timers,
    Episodes,
    FailedAttempts,
    Owned,
    Protocol,
):
    """All that the service needs of a journal."""
