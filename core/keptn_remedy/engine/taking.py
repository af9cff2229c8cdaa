"""Taking an execution: which class carries out a stored execution, or why none can."""

from __future__ import annotations

from dataclasses import dataclass

from keptn_remedy.action import PlannedAction
from keptn_remedy.engine.execution import (
    NotTaken,
    PlainExecution,
    PlannedExecution,
    RunningExecution,
)
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.value import Values
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.journal import Execution
from keptn_remedy.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Taking:
    """What executions share in this process."""

    runtime: Runtime
    registry: Registry
    guard: Guard
    values: Values
    room: WaitingRoom
    locks: TargetLocks
    overdue: Overdue

    def take(self, execution: Execution) -> RunningExecution:
        """What carries the execution out."""
        if holder := self.overdue.lanes.get(execution.lane):
            why = f"its service is held by execution {holder}, which ignores its deadline"
            return NotTaken(execution, self.runtime, why)
        entry = self.registry.find(execution.trigger.action)
        if entry is None or entry.action is None:
            why = f"the action {execution.trigger.action} is not switched on any more"
            return NotTaken(execution, self.runtime, why)
        if isinstance(entry.action, PlannedAction):
            return PlannedExecution(
                execution,
                entry,
                entry.action,
                runtime=self.runtime,
                guard=self.guard,
                values=self.values,
                room=self.room,
                locks=self.locks,
            )
        return PlainExecution(
            execution,
            entry,
            entry.action,
            runtime=self.runtime,
            guard=self.guard,
            values=self.values,
            room=self.room,
        )
