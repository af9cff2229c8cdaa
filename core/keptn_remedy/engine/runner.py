"""The runner: one execution from start to finish, with an answer to Keptn in any case."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import partial

from keptn_remedy.action import Outcome, PlannedAction
from keptn_remedy.engine.execution import MAX_RUNS, NotTaken, RunningExecution
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.plain_execution import PlainExecution
from keptn_remedy.engine.planned_execution import PlannedExecution
from keptn_remedy.engine.reporting import Reporting
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.still_wanted import (
    SHARED_SECONDS,
    STALE,
    STALE_RULE,
    YOUNG_SECONDS,
    StillWanted,
)
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.value import Values
from keptn_remedy.engine.waiting_room import Rest, WaitingRoom
from keptn_remedy.engine.watchdog import Watched
from keptn_remedy.events.bounds import MAX_MESSAGE_CHARACTERS, shortened
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.journal import Ending, Execution, NotOwner, TaskEnded, insist
from keptn_remedy.registry import Registry
from keptn_remedy.support import logs
from keptn_remedy.support.traces import Traces

# After so many runs that never ended, an execution may be what kills the process.
SUSPECT_RUNS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionFactory:
    """Makes of a stored execution what carries it out. The fields are what executions share."""

    runtime: Runtime
    registry: Registry
    guard: Guard
    values: Values
    waiting_room: WaitingRoom
    still_wanted: StillWanted
    locks: TargetLocks
    overdue: Overdue

    def take(self, execution: Execution) -> RunningExecution:
        """What carries the execution out."""
        if holder := self.overdue.lanes.get(execution.lane):
            why = f"its service is held by execution {holder}, which ignores its deadline"
            return NotTaken(execution, self.runtime, Outcome.errored(why))
        trigger = execution.trigger
        entry = self.registry.serving(trigger)
        if entry is None or entry.action is None:
            name = trigger.action or execution.action
            why = f"the action {name} is not switched on any more"
            return NotTaken(execution, self.runtime, Outcome.errored(why))
        if isinstance(entry.action, PlannedAction):
            return PlannedExecution(
                execution,
                entry,
                entry.action,
                runtime=self.runtime,
                guard=self.guard,
                values=self.values,
                waiting_room=self.waiting_room,
                still_wanted=self.still_wanted,
                locks=self.locks,
            )
        return PlainExecution(
            execution,
            entry,
            entry.action,
            runtime=self.runtime,
            guard=self.guard,
            values=self.values,
            waiting_room=self.waiting_room,
            still_wanted=self.still_wanted,
            locks=self.locks,
        )


class Runner:
    """Runs executions: begins, carries out and finishes each."""

    def __init__(self, factory: ExecutionFactory, reporting: Reporting) -> None:
        self._factory = factory
        self._reporting = reporting
        self._runtime = factory.runtime
        # Bound once: a line at the end of each execution would bind it anew.
        self._log = logs.logger().bind()
        self._running: dict[str, RunningExecution] = {}
        # Why they were aborted, for those that do not run yet, or not any more.
        self._aborted: dict[str, str] = {}
        # What was begun here, and cut off while it was open.
        self._left: set[int] = set()
        self._is_culprit_sought = False
        self._began_at = self._runtime.clock.now()

    def seek_culprit(self) -> None:
        """The last process died. What has seen that twice begins one at a time from now on: so only
        the one that kills the process goes on doing so, and is given up.
        """
        self._is_culprit_sought = True

    async def leave(self) -> None:
        """Note what this process leaves open as it leaves: it was not killed by that.

        Raises:
            JournalError: nothing was stored.
        """
        await self._runtime.journal.note_left([*self._left, *self._factory.waiting_room.begun])

    async def run(self, execution: Execution) -> Outcome:
        """Run one execution. Raises only CancelledError and Rest, which leave it open."""
        began, has_begun = self._runtime.clock.monotonic(), execution.has_begun
        self._left.discard(execution.handle)  # it was cut off before, as by a lease that ended
        try:
            running, aborted = await self._begun(execution)
            has_begun, ending, is_in_time, attempts = True, None, True, 0
            while ending is None:
                self._running[execution.id] = running
                ended = await running.run(aborted)
                attempts, ended = running.attempts, _bounded(ended)
                # From here on nothing interrupts it. One that was abandoned is finished already.
                is_in_time = self._running.pop(execution.id, None) is not None
                try:
                    await self._finish(execution, ended, attempts)
                except TaskEnded as noted:  # in the very moment in which it ended
                    aborted = noted.reason
                    if is_in_time:
                        continue
                ending = ended
            if is_in_time:
                seconds = self._runtime.clock.monotonic() - began
                self._sum_up(execution, ending, attempts, seconds)
            self._make_way(execution)
        except Rest as rest:
            # Here and now: an abort that comes next has to find it. What rests before it begins has
            # its run yet to be counted.
            self._running.pop(execution.id, None)
            self._factory.waiting_room.rest(execution, rest, has_begun=has_begun)
            raise
        except asyncio.CancelledError:
            if has_begun:
                self._left.add(execution.handle)
            raise
        else:
            return ending.outcome
        finally:
            self._running.pop(execution.id, None)
            if execution.runs and self._is_suspect(execution):  # then it went on alone
                self._factory.waiting_room.make_way(execution.id)
            if execution.lane in self._factory.overdue.lanes:
                self._factory.overdue.discard(execution.id)

    async def _begun(self, execution: Execution) -> tuple[RunningExecution, str | None]:
        """What carries it out, once it may begin and has; and why it was aborted before, if so."""
        running = self._factory.take(execution)
        if refusal := await self._refused_before(execution):
            running = NotTaken(execution, self._runtime, refusal)
        aborted = execution.aborted or self._aborted.get(execution.id)
        if aborted is None:
            if not (execution.is_begun or execution.has_begun):
                await self._begin(execution)
            aborted = self._aborted.get(execution.id)  # an abort may have come meanwhile
        return running, aborted

    def _make_way(self, execution: Execution) -> None:
        """For whom it stood in the way of."""
        if execution.runs:
            self._factory.locks.forget(execution.id)  # reserved for what was cut off
        self._factory.waiting_room.call_next()
        self._aborted.pop(execution.id, None)

    def abort(self, execution_id: str, reason: str) -> None:
        """Stop an execution whose task Keptn has ended. The journal has noted that already."""
        self._aborted[execution_id] = reason
        if running := self._running.get(execution_id):
            running.abort(reason)
        else:
            self._factory.waiting_room.wake(execution_id)

    async def announce(self, execution: Execution) -> bool:
        """Report an execution as started that still waits for its turn. False: nothing was stored,
        since it has begun or ended meanwhile, or Keptn has ended its task, or can't be asked about
        that yet.

        Raises:
            JournalError: nothing was stored.
        """
        if execution.aborted or execution.id in self._aborted:
            return False
        try:
            if not await self._factory.still_wanted.may_be_announced(execution):
                return False
        except TaskEnded as ended:
            self.abort(execution.id, ended.reason)
            return False
        started = self._reporting.started(execution.trigger)
        unsent = await self._runtime.journal.announce(execution, started)
        if unsent:
            self._reporting.send(unsent)
        return unsent is not None or started is None

    async def reserve_targets(self) -> None:
        """Lock the targets of plans that the last process left, before anything else plans.

        Raises:
            JournalError: the plans can't be read.
        """
        for execution in await self._runtime.journal.planned():
            if execution.plan:
                await self._factory.locks.reserve(execution.plan.targets, execution.id)

    def under_way(self) -> Iterator[Watched]:
        """The executions that run, for the watchdog."""
        return (_Running(self, running) for running in list(self._running.values()))

    async def abandon(self, running: RunningExecution, why: str) -> None:
        """Finish an execution whose code still runs, and does not hear that it was cut off."""
        execution, seconds = running.execution, running.overdue_seconds
        self._running.pop(execution.id, None)
        self._factory.waiting_room.make_way(execution.id)
        ending = _bounded(running.abandoned(why))
        self._factory.overdue.add(execution)
        logs.logger().error(
            "an execution ignores its deadline",
            **logs.execution_fields(execution.trigger, execution.action),
        )
        try:
            try:
                await self._finish(execution, ending, running.attempts)
            except TaskEnded:
                ending = replace(ending, is_aborted=True)
                await self._finish(execution, ending, running.attempts)
        except NotOwner:  # its lease ended meanwhile: whoever has it now finishes it
            return
        self._factory.overdue.finished(execution)
        self._sum_up(execution, ending, running.attempts, seconds)

    async def _refused_before(self, execution: Execution) -> Outcome | None:
        """Wait until it may begin; or why it may not."""
        has_waited = execution.has_begun or execution.question is not None
        refusal = await self._refused_unasked(execution, 0.0 if has_waited else SHARED_SECONDS)
        is_aborted = execution.aborted or execution.id in self._aborted
        if refusal or is_aborted or not self._is_suspect(execution):
            return refusal
        await self._factory.waiting_room.until_alone(execution.id)
        return await self._refused_unasked(execution, 0.0)  # Keptn may have ended it meanwhile

    async def _refused_unasked(self, execution: Execution, max_age: float) -> Outcome | None:
        """Why it is too old to act without an answer from Keptn, if it is. What Keptn has ended is
        noted as aborted. An answer may be `max_age` seconds old.
        """
        still_wanted = self._factory.still_wanted
        if execution.aborted or execution.id in self._aborted:
            return None
        if not self._is_in_doubt(execution):
            return None
        try:
            refusal = await still_wanted.until_confirmed(execution, max_age)
        except TaskEnded as ended:
            self._aborted[execution.id] = ended.reason
            return None
        if refusal:
            self._runtime.metrics.refusals(STALE, STALE_RULE, execution.action).inc()
        return refusal

    def _is_in_doubt(self, execution: Execution) -> bool:
        """Whether Keptn must be asked before it begins: an earlier process left it, it is old, or
        it goes on after it has rested in the journal.

        What is being undone is carried to its end all the same.
        """
        if execution.failure:
            return False
        if execution.has_begun or execution.accepted_at < self._began_at:
            return True
        # An age below 0 is unknown: the clock was set back.
        return not 0 <= self._runtime.clock.now() - execution.accepted_at < YOUNG_SECONDS

    def _is_suspect(self, execution: Execution) -> bool:
        return self._is_culprit_sought and SUSPECT_RUNS <= execution.runs < MAX_RUNS

    async def _begin(self, execution: Execution) -> None:
        journal, clock = self._runtime.journal, self._runtime.clock
        started = self._reporting.started(execution.trigger)
        if unsent := await insist(partial(journal.begin, execution, started), clock.sleep):
            self._reporting.send(unsent)

    async def _finish(self, execution: Execution, ending: Ending, attempts: int) -> None:
        journal, sleep = self._runtime.journal, self._runtime.clock.sleep
        reports = self._reporting.of_end(execution, ending, attempts)
        for unsent in await insist(
            partial(journal.finish, execution, ending, attempts=attempts, reports=reports), sleep
        ):
            self._reporting.send(unsent)

    def _sum_up(self, execution: Execution, ending: Ending, attempts: int, seconds: float) -> None:
        name, outcome, metrics = execution.action, ending.outcome, self._runtime.metrics
        status = "aborted" if ending.is_aborted else outcome.status
        metrics.finished(name, status, outcome.result).inc()
        metrics.duration(name).observe(seconds)
        if ending.undo and ending.undo.state != "wanted":
            metrics.undos(name, ending.undo.state).inc()
        if self._runtime.traces:
            _trace(self._runtime.traces, execution, ending, attempts, seconds)
        write = self._log.warning if ending.is_failure else self._log.info
        write(
            "execution finished",
            **logs.execution_fields(execution.trigger, name),
            status=status,
            result=outcome.result,
            outcome=outcome.message,
            attempts=attempts,
            seconds=round(seconds, 3),
        )


def _trace(
    traces: Traces, execution: Execution, ending: Ending, attempts: int, seconds: float
) -> None:
    """Its span, and that of the time before it was carried out."""
    trigger, outcome, now = execution.trigger, ending.outcome, traces.now()
    accepted_at = min(int(execution.accepted_at * 1e9), now)
    fields = logs.execution_fields(trigger, execution.action)
    names = {name: value for name, value in fields.items() if name != "triggeredId"}
    status = "aborted" if ending.is_aborted else outcome.status
    ended = {"status": status, "result": outcome.result, "attempts": attempts}
    error = outcome.message if ending.is_failure or ending.is_aborted else None
    traces.execution(trigger, accepted_at, {**names, **ended}, error)
    traces.part(trigger, "waited", accepted_at, max(accepted_at, now - int(seconds * 1e9)), {})


def _bounded(ending: Ending) -> Ending:
    """The ending with a message that is not too long, also with what was added to it."""
    if len(ending.outcome.message) <= MAX_MESSAGE_CHARACTERS:
        return ending
    outcome = replace(ending.outcome, message=shortened(ending.outcome.message))
    return replace(ending, outcome=outcome)


@dataclass(frozen=True, slots=True)
class _Running:
    """A running execution as the watchdog sees it."""

    runner: Runner
    running: RunningExecution

    @property
    def overdue_seconds(self) -> float:
        return self.running.overdue_seconds

    @property
    def waits_for(self) -> Collection[str]:
        return self.running.waits_for

    def stop_waiting(self, holder: str) -> None:
        self.running.stop_waiting(holder)

    async def abandon(self, why: str) -> None:
        await self.runner.abandon(self.running, why)
