"""Executions in the journal: from their trigger to their outcome, and their records."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import uuid4

import orjson

from keptn_remedy.action import Outcome
from keptn_remedy.events import ActionTriggered, NotACloudEvent, Report, Unusable, stored_trigger
from keptn_remedy.journal import rows
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.ages import surely_before
from keptn_remedy.journal.claims import Claims
from keptn_remedy.journal.errors import JournalError, TaskEnded
from keptn_remedy.journal.frontier import Frontier
from keptn_remedy.journal.notified import note_ended, note_undone
from keptn_remedy.journal.reports import SqlReports
from keptn_remedy.journal.store import Cursor, Statement, Stored, owed
from keptn_remedy.journal.undos import ABORTED, FAILED_VERIFICATION, PROBLEM_CLOSED
from keptn_remedy.journal.values import (
    Begun,
    Claimed,
    ClosedTask,
    Ending,
    Execution,
    OpenTask,
    Unsent,
    lane,
)
from keptn_remedy.support import logs

# The events of one commit, at most.
MOST_NEVER_BEGUN = 1000
TASKS_AT_ONCE = 1000
_SCOPE = ("lane", "action", "context", "project", "stage", "service")


class SqlExecutions(SqlReports):
    """The part of the journal that keeps executions."""

    def __init__(self, *args: Any, is_told: bool = True, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_told = is_told
        self._claims = Claims[int]()
        self._frontier = Frontier(
            self._claims, partial(rows.claimable, find=self._find), self._list
        )
        self._refused_event: str | None = None
        # Perhaps stored as begun by a write that failed, or that nobody waited for any more.
        self._never_begun: dict[str, None] = {}

    async def accept(self, trigger: ActionTriggered, action: str) -> Execution | None:
        now = self._now()
        with self._claims.awaiting(lane(trigger)):
            stored = await self._store(trigger, _accepted(trigger, action, now))
        if not (seq := stored.execution):
            return None
        trigger.put_away(self._find)
        self._never_begun.pop(trigger.id, None)
        # A look may have been quicker: then the execution is its to start.
        is_claimed = stored.is_owned and self._claims.take_alone(lane(trigger), seq)
        return Execution(seq, trigger, action, accepted_at=now, is_claimed=is_claimed)

    async def accept_and_begin(
        self, trigger: ActionTriggered, action: str, started: Report
    ) -> Begun | None:
        group = lane(trigger)
        # Before it is stored: what comes next must not begin beside it, nor a look find it.
        if not self._claims.reserve(group):
            waiting = await self.accept(trigger, action)
            return Begun(waiting, None) if waiting else None
        now, stored = self._now(), Stored()
        try:
            accepted = _accepted(trigger, action, now)
            stored = await self._store(trigger, accepted, owed(started, now))
        except BaseException:
            self._note_never_begun(trigger.id)
            raise
        finally:
            seq, report, is_owned = stored
            if seq and is_owned:
                self._claims.fill(group, seq)
            else:
                self._frontier.give_up(group)
        if not seq:
            return None
        trigger.put_away(self._find)
        self._never_begun.pop(trigger.id, None)
        if not is_owned:
            if report:
                self._note_never_begun(trigger.id)
            return Begun(Execution(seq, trigger, action, accepted_at=now), None)
        execution = Execution(seq, trigger, action, accepted_at=now, is_claimed=True, is_begun=True)
        return Begun(execution, self._claimed_report(report, started, now, action))

    async def _store(
        self,
        trigger: ActionTriggered,
        accepted: dict[str, Any],
        started: dict[str, Any] | None = None,
    ) -> Stored:
        try:
            return await self._insert(accepted, started)
        except JournalError as error:
            self._unacceptable, self._refused_event = str(error), trigger.id
            self._frontier.doubt()  # it may be on disk all the same
            raise

    async def rehearse(self) -> None:
        # A damaged page stands in the way of some ids alone: that of the refused event, first.
        event_id, now = self._refused_event or str(uuid4()), self._now()
        event = {**dict.fromkeys(_SCOPE, ""), "id": event_id, "now": now, "event": b"{}"}
        report = {"execution": event_id, "kind": "started", "event": b"{}", "now": now}
        try:
            await self._rehearse((sql.ACCEPT, event), (sql.OWE, report))
        except JournalError as error:
            self._unacceptable = str(error)
            raise
        self._unacceptable = self._refused_event = None

    async def claim(self, limit: int) -> Claimed[Execution]:
        look = self._frontier.look(limit)
        with self._claims.looking():
            try:
                found = await self._read_at_once(look.read)
            except BaseException:
                self._frontier.give_back(look)
                raise
            claimed = self._frontier.take(look, found)
        if not self._never_begun:
            return claimed
        items = [replace(e, runs=0) if e.id in self._never_begun else e for e in claimed.items]
        return claimed._replace(items=items)

    def _note_never_begun(self, event_id: str) -> None:
        self._never_begun[event_id] = None
        if len(self._never_begun) > MOST_NEVER_BEGUN:
            del self._never_begun[next(iter(self._never_begun))]

    def release(self, execution: Execution) -> None:
        self._frontier.drop(execution.handle, is_open=True)

    async def read_again(self, handle: int) -> Execution | None:
        for execution in await self._executions(sql.AGAIN, (handle,)):
            return replace(execution, is_claimed=True)
        # Finished, or another replica's by now: either way its lane is looked at again.
        self._frontier.drop(handle, is_open=True)
        return None

    async def begin(self, execution: Execution, started: Report | None) -> Unsent | None:
        # Counted by the step that stored it, where that stored its begin as well.
        runs = 0 if execution.id in self._never_begun else 1
        unsent = await self._start(execution, started, runs=runs)
        self._never_begun.pop(execution.id, None)
        return unsent

    async def announce(self, execution: Execution, started: Report | None) -> Unsent | None:
        # One replica looks for what waits long, whoever is to carry it out.
        return await self._start(execution, started, runs=0, is_anyones=True)

    async def _start(
        self, execution: Execution, started: Report | None, *, runs: int, is_anyones: bool = False
    ) -> Unsent | None:
        now = self._now()
        begin = {"now": now, "runs": runs, "seq": execution.handle, "is_anyones": is_anyones}
        row = await self._mark_begun(begin, owed(started, now) if started else None)
        if started is None or not row:
            return None
        return self._claimed_report(row, started, now, execution.action)

    async def note_waiting(self, execution: Execution) -> None:
        await self._write((sql.NOTE_WAITING, {"seq": execution.handle}))

    async def keep_failure(self, execution: Execution, failure: Outcome) -> None:
        await self._write((sql.KEEP_FAILURE, (orjson.dumps(failure), execution.handle)))

    async def finish(
        self, execution: Execution, ending: Ending, *, attempts: int, reports: Sequence[Report] = ()
    ) -> list[Unsent]:
        now = self._now()
        end = {"now": now, "attempts": attempts, "seq": execution.handle, **_ended_as(ending)}
        owe = [owed(report, now) for report in reports]
        last = _consequences(execution, ending, now)
        if self._is_told:
            last += _notes(execution, ending, now)
        is_refused = execution.id in self._refused
        if is_refused:
            last.insert(0, (sql.PARK_AFTER_STARTED, (execution.id,)))
        handles = await self._mark_finished(end, owe, last)
        if handles is None:
            await self._check_not_aborted(execution)
        self._refused.discard(execution.id)
        self._frontier.drop(execution.handle, is_open=False)
        if handles is None or is_refused:
            return []  # what isn't parked is claimed at the next look
        return self._claimed_reports(reports, handles, now, execution.action)

    async def _check_not_aborted(self, execution: Execution) -> None:
        for (reason,) in await self._rows(sql.NOTED_ABORT, (execution.handle,)):
            raise TaskEnded(reason)

    async def finish_lost(
        self, trigger: ActionTriggered, action: str, outcome: Outcome, report: Report
    ) -> list[Unsent]:
        now = self._now()
        bound = {**_accepted(trigger, action, now), **_outcome(outcome)}
        handles = await self._owe_if_changed((sql.FINISH_LOST, bound), [report], now)
        return self._claimed_reports([report], handles, now, action)

    async def _owe_if_changed(
        self, change: Statement, reports: Sequence[Report], now: float
    ) -> list[int]:
        def owe(cursor: Cursor) -> list[int]:
            if not cursor.execute(*change).rowcount:
                return []
            return [cursor.execute(sql.OWE, owed(r, now)).lastrowid or 0 for r in reports]

        return await self._run(owe)

    async def planned(self) -> list[Execution]:
        return await self._executions(sql.PLANNED, ())

    async def unannounced(self, before: float, limit: int) -> list[Execution]:
        return await self._executions(sql.UNANNOUNCED, (before, limit))

    async def begun(self, before: float) -> list[str]:
        return [row[0] for row in await self._rows(sql.BEGUN, (before,))]

    async def open_tasks(self, before: float) -> list[OpenTask]:
        return await self._tasks(
            lambda seq: self._rows(sql.OPEN_TASKS, (seq, before, TASKS_AT_ONCE))
        )

    async def open_tasks_of(self, lane: str) -> list[OpenTask]:
        return await self._tasks(
            lambda seq: self._rows(sql.OPEN_TASKS_OF, (lane, seq, TASKS_AT_ONCE))
        )

    @staticmethod
    async def _tasks(read: Callable[[int], Awaitable[list[Any]]]) -> list[OpenTask]:
        """All of them, by steps that are short whatever the backlog."""
        found: list[OpenTask] = []
        last = 0
        while page := await read(last):
            found += map(rows.open_task, page)
            last = page[-1][0]
        return found

    async def closed_as_aborted(self, ids: Collection[str]) -> list[ClosedTask]:
        return rows.closed_tasks(await self._rows(sql.CLOSED_AS_ABORTED, (self._list(ids),)))

    async def answer_aborted(
        self, closed: ClosedTask, outcome: Outcome, reports: Sequence[Report]
    ) -> list[Unsent]:
        now = self._now()
        end = {**_outcome(outcome), "id": closed.trigger.id, "now": now}
        handles = await self._owe_if_changed((sql.ANSWER_ABORTED, end), reports, now)
        return self._claimed_reports(reports, handles, now, closed.action)

    async def note_listed(self, ids: Collection[str]) -> None:
        await self._write((sql.NOTE_LISTED, (self._list(ids),)))

    async def note_left(self, handles: Collection[int]) -> None:
        if handles:
            await self._write((sql.NOTE_LEFT, (self._list(handles),)))

    async def note_abort(self, execution_id: str, reason: str) -> bool:
        written = await self._write((sql.NOTE_ABORT, (reason, execution_id)))
        return bool(written.rows)

    async def known(self, ids: Collection[str]) -> set[str]:
        return {row[0] for row in await self._rows(sql.KNOWN, (self._list(ids),))}

    async def trigger(self, execution_id: str) -> ActionTriggered | None:
        for (event,) in await self._rows(sql.TRIGGER, (execution_id,)):
            try:
                return stored_trigger(event)
            except (NotACloudEvent, Unusable) as error:
                logs.logger().error(
                    "an execution can't be read", id=execution_id, reason=str(error)
                )
        return None

    async def prune(self, before: float, limit: int) -> int:
        def prune(cursor: Cursor) -> int:
            surely = surely_before(cursor, before)
            found = [row[0] for row in cursor.execute(sql.PRUNABLE, (surely, limit))]
            for statement in sql.PRUNE:
                cursor.execute(statement, (self._list(found),))
            cursor.execute(sql.PRUNE_PARKED, (surely,))
            return len(found)

        return await self._run(prune)


def _accepted(trigger: ActionTriggered, action: str, now: float) -> dict[str, Any]:
    return {
        "id": trigger.id,
        "lane": lane(trigger),
        "action": action,
        "context": trigger.context,
        "project": trigger.project,
        "stage": trigger.stage,
        "service": trigger.service,
        "now": now,
        "event": trigger.body,
    }


def _consequences(execution: Execution, ending: Ending, now: float) -> list[Statement]:
    """What the end of an execution changes besides the execution."""
    of_it = {"seq": execution.handle, "now": now}
    judged = "aborted" if ending.is_aborted else "failed" if ending.is_failure else "helped"
    end_effects: Statement = sql.END_EFFECTS, {**of_it, "judged": judged}
    found: list[Statement] = [(sql.DROP_EFFECTS, of_it) if ending.is_untouched else end_effects]
    if ending.is_aborted:
        found.append((sql.DROP_QUESTION, (execution.handle,)))
    if arm := ending.arm:
        when = {"on_closed": arm.on_closed, "due_at": arm.due_at, "cause": PROBLEM_CLOSED}
        found.append((sql.ARM, {**of_it, **when}))
    if undo := ending.undo:
        cause = ABORTED if ending.is_aborted else FAILED_VERIFICATION
        how = {"state": undo.state, "message": undo.message, "cause": cause}
        found.append((sql.UNDO_AT_ONCE, {**of_it, **how}))
    return found


def _notes(execution: Execution, ending: Ending, now: float) -> list[Statement]:
    """What notes that people have to be told of the end."""
    found = [note_undone(now, seq=execution.handle)] if ending.undo else []
    if ending.is_failure and not ending.is_aborted:
        found.append(note_ended(execution.handle, now))
    return found


def _ended_as(ending: Ending) -> dict[str, Any]:
    found = _outcome(ending.outcome)
    return {**found, "status": "aborted", "result": "fail"} if ending.is_aborted else found


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "status": outcome.status,
        "result": outcome.result,
        "message": outcome.message,
        "details": orjson.dumps(outcome.details, default=str, option=orjson.OPT_NON_STR_KEYS),
    }
