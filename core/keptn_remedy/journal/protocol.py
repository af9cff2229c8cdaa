"""What the service needs of a journal, and what rails ask it about the past."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Literal, Protocol, TypeVar

from keptn_remedy.action import JSON, Outcome, Plan
from keptn_remedy.events import ActionTriggered, Report
from keptn_remedy.journal.values import (
    Alike,
    Backlog,
    DueUndo,
    Effect,
    Ending,
    Execution,
    Last,
    OpenTask,
    Pause,
    Question,
    Record,
    State,
    Undo,
    Unsent,
    Verdict,
    WholeRecord,
)

T = TypeVar("T")


class History(Protocol):
    """What rails ask about the past, inside the transaction that admits. The execution that asks
    has no effects yet.
    """

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
        """Note that a run begins. The report is stored, and returned, only the first time. A run
        that only waits for an answer to a question does not count.
        """
        ...

    async def announce(self, execution: Execution, started: Report) -> Unsent | None:
        """As `begin`, for an execution that still waits for its turn."""
        ...

    async def begin_admitted(
        self,
        execution: Execution,
        started: Report,
        effects: Sequence[Effect],
        decide: Callable[[History], object | None],
    ) -> tuple[Unsent | None, bool]:
        """As `begin`, and then `admit` for what has no plan, in one change; and whether it is
        admitted. What else was said, or raised, is not told: whoever asks again hears it.
        """
        ...

    async def keep_failure(self, execution: Execution, failure: Outcome) -> None:
        """Store that the plan is being undone, and the outcome that this leads to."""
        ...

    async def admit(
        self,
        execution: Execution,
        plan: Plan | None,
        effects: Sequence[Effect],
        decide: Callable[[History], T | None],
    ) -> T | None:
        """Let an execution act: store its plan and effects, and drop its question; or return what
        `decide` said against it, and store nothing. None, unasked, when it was admitted before.

        `decide` is called in the transaction, in another thread, perhaps more than once. What it
        raises is raised here.

        Raises:
            LookupError: the execution is not open.
        """
        ...

    async def finish(
        self, execution: Execution, ending: Ending, *, attempts: int, reports: Sequence[Report] = ()
    ) -> list[Unsent]:
        """Store how an execution ended, and what Keptn must be told of it, once; empty when it has
        already finished.

        An aborted one gets the status aborted and the result fail. Its question is dropped.
        """
        ...

    async def finish_lost(
        self, trigger: ActionTriggered, action: str, outcome: Outcome, report: Report
    ) -> list[Unsent]:
        """Store what an earlier journal lost, as finished; empty when its id is known."""
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

    async def known(self, ids: Collection[str]) -> set[str]:
        """Those of the ids that were accepted once."""
        ...

    async def trigger(self, execution_id: str) -> ActionTriggered | None:
        """The trigger of an execution; None when it is unknown or can't be read."""
        ...

    async def open_tasks(self, before: float) -> list[OpenTask]:
        """Open executions that were accepted before that time."""
        ...

    async def note_listed(self, ids: Collection[str]) -> None:
        """Note that Keptn told these as open."""
        ...

    async def note_abort(self, execution_id: str, reason: str) -> bool:
        """Note that an execution is given up. False: it was noted before, or is not open."""
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
        """Note that an undo begins, perhaps anew; False when it has ended, has to wait for another,
        or none was armed or wanted.
        """
        ...

    async def put_off_undo(self, execution_id: str) -> None:
        """Want an undo that has begun anew, later: it may not act now."""
        ...

    async def end_undo(
        self, execution_id: str, state: Literal["done", "refused", "failed"], message: str
    ) -> None:
        """Note how an undo ended, once."""
        ...

    async def overtaken(self, execution_id: str) -> str | None:
        """A later execution that helped on one of its targets, and is not undone."""
        ...

    async def undo_of(self, execution_id: str) -> Undo | None:
        """The undo of an execution, armed, under way or ended."""
        ...

    async def backlog(self) -> Backlog:
        """How much is open."""
        ...

    async def prune(self, before: float, limit: int) -> int:
        """Forget executions finished before that time, and their effects, at most `limit`; returns
        how many. Those whose undo is wanted, under way or has its time are kept.
        """
        ...

    async def close(self) -> None:
        """Store what is under way and let go of the journal."""
        ...
