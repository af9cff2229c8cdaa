"""One journal for several replicas: what is claimed in memory is claimed in the database, too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

from keptn_remedy.action import Outcome, Plan
from keptn_remedy.events import Report
from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.ages import SqlAges
from keptn_remedy.journal.effects import Raised, SqlEffects
from keptn_remedy.journal.errors import JournalError
from keptn_remedy.journal.executions import SqlExecutions
from keptn_remedy.journal.foreseen import NOTHING_FORESEEN, Foreseen
from keptn_remedy.journal.group_commit import GroupCommitStore, carry_out
from keptn_remedy.journal.hearing import SqlHearing
from keptn_remedy.journal.history import History
from keptn_remedy.journal.ownership import ALONE, NotOwner, Ownership, TargetHeld
from keptn_remedy.journal.postgres_admissions import Admission
from keptn_remedy.journal.postgres_owner import FREED, IS_MINE, ME, MINE_OR_FREE
from keptn_remedy.journal.postgres_replica import Replica
from keptn_remedy.journal.postgres_targets import SharedTargets, may_act_for
from keptn_remedy.journal.questions import SqlQuestions
from keptn_remedy.journal.store import Cursor, Statement, Written
from keptn_remedy.journal.timers import SqlTimers
from keptn_remedy.journal.undos import TIME_IS_UP, SqlUndos
from keptn_remedy.journal.values import (
    Claimed,
    DueUndo,
    Effect,
    Ending,
    Execution,
    Question,
    Unsent,
)
from keptn_remedy.support.clock import Gap, Reading

T = TypeVar("T")

# How soon it is looked again for what other replicas hold now.
ELSEWHERE_SECONDS = 1.0

_TAKE = f"""
UPDATE executions SET owner = {ME}
WHERE seq = ANY($1) AND state <> 'finished' AND {MINE_OR_FREE}
    AND {ME} IN (SELECT no FROM replicas WHERE NOT ended)
    AND NOT EXISTS (SELECT 1 FROM executions AS other
        WHERE other.lane = executions.lane AND other.owner > {FREED}
            AND other.state <> 'finished' AND other.seq <> executions.seq)
RETURNING seq"""  # noqa: S608  our names
_TAKE_REPORTS = f"""
UPDATE reports SET owner = {ME} WHERE seq = ANY($1) AND {MINE_OR_FREE}
    AND {ME} IN (SELECT no FROM replicas WHERE NOT ended)
RETURNING seq"""  # noqa: S608
_IS_OURS = f"""
SELECT coalesce(owner, {ME}) = {ME} FROM executions
WHERE seq = $1 AND state <> 'finished'"""  # noqa: S608
_LOCK_REPORT = f"""
SELECT 1 FROM reports WHERE seq = $1 AND state = 'unsent' AND {IS_MINE} FOR UPDATE"""  # noqa: S608
_ABORTED = """
SELECT id, aborted FROM executions
WHERE id = ANY($1) AND state <> 'finished' AND aborted IS NOT NULL"""
_DOUBT = f"""
UPDATE reports SET doubtful = TRUE, due_at = greatest(due_at, $1)
WHERE state = 'unsent' AND {MINE_OR_FREE}"""  # noqa: S608
_ON_DUTY = f"SELECT 1 FROM leases WHERE owner = {ME} FOR SHARE"  # noqa: S608
_PLAN = "SELECT seq, plan FROM executions WHERE id = $1"
_ARE_OTHERS = f"""
SELECT EXISTS (SELECT 1 FROM replicas WHERE NOT ended AND no <> {ME})"""  # noqa: S608
_HEARD = f"UPDATE replicas SET heard = $1 WHERE no = {ME}"  # noqa: S608
_ALL_HEARD = """
SELECT (SELECT given FROM orders) <= coalesce(min(heard), 0) FROM replicas
WHERE NOT ended AND until > extract(epoch FROM clock_timestamp())"""


class SharedJournal(
    SqlExecutions,
    SqlEffects,
    SqlQuestions,
    SqlHearing,
    SqlUndos,
    SqlAges,
    SqlTimers,
    GroupCommitStore,
):
    """The parts of the journal that look at the other replicas."""

    _replica: Replica | None = None
    _ended_ones = 0
    _was_held = False

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._targets = SharedTargets()
        self._shared: Ownership = ALONE

    @property
    def ownership(self) -> Ownership:
        """The lease of this process; beside a service it has none, and acts on nothing."""
        return self._shared

    @property
    def _number(self) -> int:
        return self._replica.no if self._replica else 0

    def _lease_by(self, replica: Replica) -> None:
        self._replica = replica
        self._shared = Shared(self, replica)

    def _lease(self) -> Replica:
        """The lease of this process.

        Raises:
            JournalError: it can't be sure of it.
        """
        if self._replica is None or not self._replica.may_act():
            raise JournalError("the lease of this replica can't be renewed")
        return self._replica

    async def claim(self, limit: int) -> Claimed[Execution]:
        ended_ones = self._lease().ended_ones
        if ended_ones != self._ended_ones:
            self._ended_ones = ended_ones
            self._frontier.doubt()  # they have left something
        claimed = await super().claim(limit)
        taken = await self._taken(_TAKE, [execution.handle for execution in claimed.items])
        for execution in claimed.items:
            if execution.handle not in taken:
                self._frontier.leave(execution.handle)
        items = [execution for execution in claimed.items if execution.handle in taken]
        due_at = claimed.due_at
        if due_at is None and self._frontier.is_elsewhere:
            due_at = self._now() + ELSEWHERE_SECONDS
        return Claimed(items, claimed.is_left, due_at)

    def waits_for_others(self) -> bool:
        """Whether something may go on once another replica lets go of a lane or a target."""
        was_held, self._was_held = self._was_held, False
        return was_held or self._frontier.is_elsewhere

    async def claim_reports(self, limit: int) -> Claimed[Unsent]:
        self._lease()
        claimed = await super().claim_reports(limit)
        taken = await self._taken(_TAKE_REPORTS, [unsent.handle for unsent in claimed.items])
        for unsent in claimed.items:
            if unsent.handle not in taken:
                self.release_report(unsent)
        return claimed._replace(items=[u for u in claimed.items if u.handle in taken])

    async def _taken(self, statement: str, handles: list[int]) -> set[int]:
        if not handles:
            return set()

        def take(cursor: Cursor) -> set[int]:
            return {row[0] for row in cursor.execute(statement, (handles,)).fetchall()}

        number = self._number
        try:
            taken = await self._run(take)
        except JournalError:
            return set()  # they stay where they are, for the next look
        return taken if number == self._number else set()  # the lease was lost meanwhile

    async def begin(self, execution: Execution, started: Report | None) -> Unsent | None:
        unsent = await super().begin(execution, started)
        if unsent is None:
            await self._require_ours(execution)
        return unsent

    async def admit(
        self,
        execution: Execution,
        plan: Plan | None,
        effects: Sequence[Effect],
        decide: Callable[[History], T | None],
        foreseen: Foreseen = NOTHING_FORESEEN,
    ) -> T | None:
        asked = Admission(
            execution.handle,
            plan,
            effects,
            decide,
            foreseen,
            self._now,
            self._stamp,
            self._targets,
        )
        said: T | Raised | None = await self._of_a_kind("admit", asked)
        if not isinstance(said, Raised):
            return said
        self._was_held |= isinstance(said.error, TargetHeld)
        if isinstance(said.error, LookupError):
            await self._require_ours(execution)
        raise said.error

    async def ask(self, execution: Execution, question: Question) -> None:
        await super().ask(execution, question)
        await self._require_ours(execution)

    async def close_question(self, execution: Execution) -> Question | None:
        closed = await super().close_question(execution)
        if closed is None:
            await self._require_ours(execution)
        return closed

    async def set_timer(self, execution: Execution, seconds: float) -> None:
        await super().set_timer(execution, seconds)
        await self._require_ours(execution)

    async def note_waiting(self, execution: Execution) -> None:
        await super().note_waiting(execution)
        await self._require_ours(execution)

    async def keep_failure(self, execution: Execution, failure: Outcome) -> None:
        await super().keep_failure(execution, failure)
        await self._require_ours(execution)

    async def finish(
        self, execution: Execution, ending: Ending, *, attempts: int, reports: Sequence[Report] = ()
    ) -> list[Unsent]:
        unsent = await super().finish(execution, ending, attempts=attempts, reports=reports)
        if not unsent:
            await self._require_ours(execution)
        return unsent

    async def _check_not_aborted(self, execution: Execution) -> None:
        await self._require_ours(execution)
        await super()._check_not_aborted(execution)

    async def _require_ours(self, execution: Execution) -> None:
        for (is_ours,) in await self._rows(_IS_OURS, (execution.handle,)):
            if not is_ours:
                raise NotOwner

    async def _write_for(self, execution: int, *statements: Statement) -> Written:
        written = await self._run(partial(_write_if, may_act_for, execution, statements))
        if written is None:
            raise NotOwner
        return written

    async def _write_about(self, report: int, *statements: Statement) -> Written:
        written = await self._run(partial(_write_if, _is_ours_to_send, report, statements))
        return written or Written(0, 0, 0)

    async def take_over(self, reading: Reading) -> Gap:
        # While others serve, what is stored goes by their clocks: it keeps its age.
        if (await self._rows(_ARE_OTHERS, ()))[0][0]:
            return Gap()
        return await super().take_over(reading)

    async def recover(self, grace: float) -> None:
        since = self._now() if self._locked_at is None else self._locked_at
        await self._write((_DOUBT, (since + grace,)))
        self._refused = {row[0] for row in await self._rows(sql.REFUSED, ())}

    async def aborted(self, running: Collection[str]) -> dict[str, str]:
        """Why these executions are aborted, if they are."""
        return dict(await self._rows(_ABORTED, (list(running),))) if running else {}

    async def due_undos(self, now: float, limit: int) -> list[DueUndo]:
        if not self._lease().has_duty():
            return []
        # Those first that an ended replica had begun: others may wait for their targets.
        return [*await self.undos_begun(), *await super().due_undos(now, limit)]

    async def begin_undo(self, execution_id: str) -> bool:
        if not self._lease().has_duty():
            return False
        bound = {"cause": TIME_IS_UP, "now": self._now(), "id": execution_id}

        def begin(cursor: Cursor) -> bool:
            if cursor.execute(_ON_DUTY).fetchone() is None:
                return False
            row = cursor.execute(_PLAN, (execution_id,)).fetchone()
            plan = rows.plan_of(row[1]) if row else None
            if plan and not self._targets.hold_for_undo(cursor, row[0], plan.targets):
                return False
            if cursor.execute(sql.BEGIN_UNDO, bound).rowcount > 0:
                return True
            if row:
                self._targets.let_go(cursor, row[0])
            return False

        return await self._run(begin)

    async def put_off_undo(self, execution_id: str) -> None:
        await super().put_off_undo(execution_id)
        await self._release(execution_id)

    async def end_undo(
        self, execution_id: str, state: Literal["done", "refused", "failed"], message: str
    ) -> None:
        await super().end_undo(execution_id, state, message)
        await self._release(execution_id)

    async def _release(self, execution_id: str) -> None:
        def release(cursor: Cursor) -> None:
            if row := cursor.execute(_PLAN, (execution_id,)).fetchone():
                self._targets.release(cursor, row[0])

        await self._run(release)

    async def note_heard(self, orders: int) -> None:
        await self._write((_HEARD, (orders,)))

    async def all_heard(self) -> bool:
        return bool((await self._rows(_ALL_HEARD, ()))[0][0])


def _is_ours_to_send(cursor: Cursor, report: int) -> bool:
    return cursor.execute(_LOCK_REPORT, (report,)).fetchone() is not None


def _write_if(
    is_ours: Callable[[Cursor, int], bool],
    what: int,
    statements: Sequence[Statement],
    cursor: Cursor,
) -> Written | None:
    """Carry the statements out behind the lock of what they belong to; None: it is another's."""
    return carry_out(cursor, statements) if is_ours(cursor, what) else None


class Shared:
    """The ownership of one of several replicas."""

    is_shared = True

    def __init__(self, journal: SharedJournal, replica: Replica) -> None:
        self._journal = journal
        self._replica = replica
        self.may_act, self.has_duty = replica.may_act, replica.has_duty
        self.aborted = journal.aborted

    def notify(
        self, lost: Callable[[], None], found: Callable[[], None], ordered: Callable[[], None]
    ) -> None:
        def freed() -> None:
            if self._journal.waits_for_others():
                found()

        self._replica.notify(lost, found, ordered, freed)
