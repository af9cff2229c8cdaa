"""drain-node: closes a node to new pods, and has its pods leave as disruption budgets allow."""

from __future__ import annotations

from typing import Any, ClassVar

from keptn_remedy import Change, Context, Denied, Outcome, Plan
from keptn_remedy_actions.cluster import POD, Object, counted, name_of, spec_of, uid_of
from keptn_remedy_actions.cluster.action import ClusterAction, Target, check_same, looks
from keptn_remedy_actions.cluster.api import NotFound
from keptn_remedy_actions.cluster.compare_and_set import ChangedMeanwhile, compare_and_set, foreseen
from keptn_remedy_actions.cluster.eviction import (
    Leaving,
    controller_of,
    evict_all,
    is_movable,
    until_gone,
)
from keptn_remedy_actions.cluster.nodes import (
    NodeSettings,
    NodeValue,
    check_enough_stay,
    closing,
    found,
    is_closed,
)


class DrainValue(NodeValue):
    """Which node, and which pods may be lost."""

    unmanaged: bool = False
    """Whether pods without a controller may go: nobody makes them anew."""
    local_data: bool = False
    """Whether pods with an emptyDir may go: what is in it is lost."""


class _Memo(Target):
    was: bool | None
    pods: list[Leaving]


class DrainNode(ClusterAction):
    """Cordon a node, and evict its pods."""

    name = "drain-node"
    aliases = ("drain",)
    deadline = 900.0
    undo_when_aborted = True

    Settings: ClassVar[Any] = NodeSettings
    Value: ClassVar[Any] = DrainValue

    settings: NodeSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    async def plan(self, context: Context, value: DrainValue) -> Plan:
        ref, node = await found(self.api, self.settings, context, value)
        await check_enough_stay(self.api, self.settings, ref)
        pods = await self._movable(ref.name)
        _check_may_go(pods, value)
        if len(pods) > self.settings.most_pods:
            most = self.settings.most_pods
            raise Denied(f"{ref} has {len(pods)} pods, and DRAIN_MOST_PODS allows {most}")
        leaving = [Leaving.of(pod) for pod in pods]
        memo = _Memo(
            workload=ref, uid=uid_of(node), was=spec_of(node).get("unschedulable"), pods=leaving
        )
        changes = [Change(each.pod.target, "pod", each.uid, "evicted") for each in leaving]
        if not is_closed(node):
            await foreseen(self.api, ref, [closing(node)])
            changes.insert(0, Change(ref.target, "unschedulable", memo.was, True))
        notes = () if changes else (f"{ref} is closed and has no pods that could leave",)
        return Plan(tuple(changes), notes, memo.model_dump(mode="json"))

    async def apply(self, context: Context, plan: Plan) -> None:
        memo = _Memo.model_validate(plan.memo)
        if not memo.was:
            await self._close(memo)
        await evict_all(self.api, memo.pods)

    async def _close(self, memo: _Memo) -> None:
        if not is_closed(await self.there(memo.workload)):
            # Another one may have been closed since the plan, such as while it was approved.
            await check_enough_stay(self.api, self.settings, memo.workload)
        field = closing({"spec": {"unschedulable": memo.was}})
        if await compare_and_set(self.api, memo.workload, [field], uid=memo.uid):
            # Two that close nodes at once don't see each other before, but one of them does now.
            # Where this refuses, the node is opened again.
            await check_enough_stay(self.api, self.settings, memo.workload)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = _Memo.model_validate(plan.memo)
        if why := await until_gone(self.api, context, memo.pods):
            return Outcome.failed(f"{memo.workload}: {why}")
        came = list[Object]()
        async for _ in looks(context):
            if not (came := await self._movable(memo.workload.name)):
                break
        if came:
            names = _some([name_of(pod) for pod in came])
            return Outcome.failed(f"{memo.workload} still has {names}, which came after the plan")
        gone = counted(len(memo.pods), "pod")
        try:
            node = await self.api.get(memo.workload)
        except NotFound:  # such as by an autoscaler, which removes empty nodes
            return Outcome.passed(f"{memo.workload} was removed after {gone} left it")
        check_same(memo.workload, node, memo.uid)
        if not is_closed(node):
            return Outcome.failed(f"overridden: somebody opened {memo.workload} again")
        return Outcome.passed(f"{memo.workload} is closed, and {gone} left it")

    async def undo(self, context: Context, plan: Plan) -> str | None:
        undone = await super().undo(context, plan)
        memo = _Memo.model_validate(plan.memo)
        if undone or not memo.pods:
            return undone
        return f"undone: {memo.workload} takes pods again; those that left stay where they are"

    async def put_back(self, context: Context, plan: Plan, live: Object) -> bool:
        memo = _Memo.model_validate(plan.memo)
        check_same(memo.workload, live, memo.uid)
        if memo.was:
            raise Denied(f"{memo.workload} was closed before, and pods that left can't be put back")
        field = closing({"spec": {"unschedulable": memo.was}}).reversed
        try:
            return await compare_and_set(self.api, memo.workload, [field], uid=memo.uid)
        except (ChangedMeanwhile, NotFound) as error:
            raise Denied(str(error)) from None

    async def _movable(self, node: str) -> list[Object]:
        """The pods on it that an eviction would move."""
        pods = await self.api.list(POD, "", fields=f"spec.nodeName={node}")
        return [pod for pod in pods if is_movable(pod)]


def _check_may_go(pods: list[Object], value: DrainValue) -> None:
    """As `kubectl drain` does without its flags.

    Raises:
        Denied: something would be lost.
    """
    unmanaged = [name_of(pod) for pod in pods if not controller_of(pod)]
    if unmanaged and not value.unmanaged:
        raise Denied(f"nobody would make {_some(unmanaged)} anew; `unmanaged: true` lets them go")
    local = [
        name_of(pod)
        for pod in pods
        if any("emptyDir" in volume for volume in spec_of(pod).get("volumes") or ())
    ]
    if local and not value.local_data:
        raise Denied(f"{_some(local)} would lose an emptyDir; `local_data: true` lets them go")


def _some(names: list[str]) -> str:
    return f"pods {', '.join(names[:3])}" + (f" and {len(names) - 3} more" if names[3:] else "")
