"""The execution factory: makes of a stored execution what carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from keptn_remedy.action import Outcome, PlannedAction
from keptn_remedy.engine.execution import NotTaken, RunningExecution
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.plain_execution import PlainExecution
from keptn_remedy.engine.planned_execution import PlannedExecution
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.still_wanted import StillWanted
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.value import Values
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.journal import Execution
from keptn_remedy.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionFactory:
    """The fields are what executions share."""

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
