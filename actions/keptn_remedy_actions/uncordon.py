"""uncordon: lets pods come to a node again."""

from __future__ import annotations

from typing import Any, ClassVar

from keptn_remedy import Change, Context, Denied, Outcome, Plan
from keptn_remedy_actions.cluster import Object, uid_of
from keptn_remedy_actions.cluster.action import ClusterAction, Target, check_same
from keptn_remedy_actions.cluster.compare_and_set import (
    ChangedMeanwhile,
    Field,
    compare_and_set,
    foreseen,
)
from keptn_remedy_actions.cluster.nodes import (
    CLOSED,
    NodeSettings,
    NodeValue,
    check_enough_stay,
    found,
    is_closed,
)

_OPENING = Field(CLOSED, True, None)


class Uncordon(ClusterAction):
    """Open a node to pods again."""

    name = "uncordon"
    aliases = ("uncordon-node",)

    Settings: ClassVar[Any] = NodeSettings
    Value: ClassVar[Any] = NodeValue

    settings: NodeSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    async def plan(self, context: Context, value: NodeValue) -> Plan:
        ref, node = await found(self.api, self.settings, context, value)
        memo = Target(workload=ref, uid=uid_of(node)).model_dump(mode="json")
        if not is_closed(node):
            return Plan((), (f"{ref} takes pods already",), memo)
        await foreseen(self.api, ref, [_OPENING])
        return Plan((Change(ref.target, "unschedulable", True, None),), memo=memo)

    async def apply(self, context: Context, plan: Plan) -> None:
        memo = Target.model_validate(plan.memo)
        if plan.changes:
            await compare_and_set(self.api, memo.workload, [_OPENING], uid=memo.uid)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = Target.model_validate(plan.memo)
        if is_closed(await self.there(memo.workload)):
            return Outcome.failed(f"overridden: somebody closed {memo.workload} again")
        return Outcome.passed(f"{memo.workload} takes pods")

    async def put_back(self, context: Context, plan: Plan, live: Object) -> bool:
        memo = Target.model_validate(plan.memo)
        check_same(memo.workload, live, memo.uid)
        if not is_closed(live):
            # Others may have been closed since: an undo closes no more than a drain may.
            await check_enough_stay(self.api, self.settings, memo.workload)
        try:
            return await compare_and_set(self.api, memo.workload, [_OPENING.reversed], uid=memo.uid)
        except ChangedMeanwhile as error:
            raise Denied(str(error)) from None
