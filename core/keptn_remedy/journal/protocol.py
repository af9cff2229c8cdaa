"""What the service needs of a journal, in roles.

Every write is durable once it returns. Every method raises `JournalError` when the journal can't be
used; nothing is half done then.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Protocol, TypeVar

from keptn_remedy.action import JSON, Outcome, Plan
from keptn_remedy.events import ActionTriggered, Report
from keptn_remedy.journal.episode_protocol import Episodes
from keptn_remedy.journal.failed_attempts import FailedAttempts
from keptn_remedy.journal.foreseen import NOTHING_FORESEEN, Foreseen
from keptn_remedy.journal.history import History
from keptn_remedy.journal.maintenance_protocol import Maintenance
from keptn_remedy.journal.notifications import Notifications
from keptn_remedy.journal.order_protocol import Hearing, Questions, Undos
from keptn_remedy.journal.ownership import Owned
from keptn_remedy.journal.record_protocol import Records
from keptn_remedy.journal.timers import Timers
from keptn_remedy.journal.values import (
    Begun,
    Claimed,
    ClosedTask,
    Effect,
    Ending,
    Execution,
    OpenTask,
    Pause,
    Record,
    Unsent,
)

T = TypeVar("T")


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

    async def note_left(self, handles: Collection[int]) -> None:
        """Store that this process leaves these open in an orderly way: that doesn't count as a run
        that never came to its end.
        """
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

    async def note_waiting(self, execution: Execution) -> None:
        """Note that an execution without a plan waits for others: processes that ended until now
        don't count as runs that never came to an end.

        Raises:
            JournalError: nothing was stored.
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
        end the claim; the log entry that tells of it is stored along, and returned. Nothing is
        stored of a report that is parked already, or another replica's by now.
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


class Memories(Protocol):
    """What an action, or the policy file, keeps between executions."""

    async def recall(self, action: str, key: str) -> JSON:
        """What an action remembered under a key, or None."""
        ...

    async def remember(
        self, action: str, key: str, value: JSON, *, by: Execution | None = None
    ) -> None:
        """Keep a value for an action; None forgets the key. `by` is the execution that says so.

        Raises:
            NotOwner: that execution is another replica's by now.
        """
        ...

    async def remember_instead(self, was: JSON, action: str, key: str, value: JSON) -> bool:
        """Keep a value in the place of what was recalled, None included; False where another one
        was kept meanwhile, and then this one isn't.
        """
        ...

    async def remember_within(
        self, most: int, action: str, key: str, value: JSON, *, by: Execution | None = None
    ) -> bool:
        """The same, unless the key is new and the action has so many keys; then False."""
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
