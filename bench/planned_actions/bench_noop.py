"""The action that the benchmarks trigger, with a plan for the guard-rails to look at."""

from __future__ import annotations

from typing import Any

from keptn_remedy import Change, Context, Outcome, Plan, PlannedAction


class BenchNoop(PlannedAction):
    """Plans one more replica of the service, and changes nothing."""

    name = "bench-noop"
    Value = Any

    async def plan(self, context: Context, value: Any) -> Plan:
        trigger = context.trigger
        target = f"deployments.apps/{trigger.project}-{trigger.stage}/{trigger.service}"
        return Plan((Change(target, "replicas", 1, 2),))

    async def apply(self, context: Context, plan: Plan) -> None:
        pass

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return Outcome.passed("nothing to do")

    async def undo(self, context: Context, plan: Plan) -> None:
        pass
