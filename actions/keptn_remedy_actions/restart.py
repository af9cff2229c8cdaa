"""restart: new pods for a workload, as `kubectl rollout restart` has them made, and watched."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from keptn_remedy import Change, Context, Denied, Outcome, Plan
from keptn_remedy_actions.cluster import (
    ROLLOUT,
    Object,
    Workload,
    annotations_of,
    argo,
    events,
    rollout,
    spec_of,
    stateful,
    status_of,
    trouble,
    uid_of,
)
from keptn_remedy_actions.cluster.action import ClusterAction, Target, looks
from keptn_remedy_actions.cluster.api import MERGE_PATCH
from keptn_remedy_actions.cluster.managers import who_set
from keptn_remedy_actions.cluster.revisions import RESTARTED_AT
from keptn_remedy_actions.cluster.rollout import Progress
from keptn_remedy_actions.cluster.swap import AnotherTemplate
from keptn_remedy_actions.cluster.targets import TargetValue, resolve


class _Memo(Target):
    """What the plan keeps: what is to be restarted, and the time that makes it one restart."""

    at: str
    before: str | None
    """What stood there: it may lie in the future, where clocks differ or a restart is scheduled."""


class Restart(ClusterAction):
    """Replace all pods of a workload, one after the other, as its update strategy says."""

    name = "restart"
    aliases = ("rollout-restart", "restart-pods")
    undo_on_failed_verification = False
    deadline = 600.0

    Value: ClassVar[Any] = TargetValue

    async def plan(self, context: Context, value: TargetValue) -> Plan:
        workload = await resolve(self.api, self.settings, context, value)
        if workload.ref.kind != ROLLOUT:  # whose controller restarts pods by itself, paused or not
            rollout.check_follows_its_template(workload, "a restart would not begin")
        before = restarted_at(workload)
        at = _now(besides=before)
        memo = _Memo(workload=workload.ref, uid=uid_of(workload.live), at=at, before=before)
        change = Change(workload.ref.target, "restartedAt", before, at)
        empty = rollout.is_empty(workload)
        notes = (f"{workload.ref} has no pods to restart",) if empty else ()
        return Plan((change,), (*notes, *value.notes), memo.model_dump(mode="json"))

    async def apply(self, context: Context, plan: Plan) -> None:
        memo = _Memo.model_validate(plan.memo)
        workload = await self._again(memo)
        if not _is_restarted(memo, workload):
            await self.api.patch(memo.workload, MERGE_PATCH, _order(memo))
        told = f"restarted at {memo.at}"
        await events.tell(self.api, context, memo.workload, workload.live, "RemedyRestarted", told)

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = _Memo.model_validate(plan.memo)
        workload, how = Workload(memo.workload, {}), Progress("waiting")
        async for _ in looks(context):
            workload = await self._again(memo)
            if not _is_restarted(memo, workload):
                who = who_set(workload.live, "/spec/template", memo.at)
                return Outcome.failed(f"overridden: {who} took the restart of {memo.workload} back")
            how = _progress(workload)
            if how.state != "waiting":
                break
        if how.state == "complete":
            return Outcome.passed(f"{memo.workload} restarted, all pods are available")
        why = await self._reasons(memo, workload, how) if workload.live else how.why
        return Outcome.failed(f"{memo.workload} is not available after its restart: {why}")

    def is_same(self, asked: Plan, now: Plan) -> bool:
        # `restartedAt` is the time of the plan.
        return [change.target for change in asked.changes] == [c.target for c in now.changes]

    async def put_back(self, context: Context, plan: Plan, live: Object) -> bool:
        memo = _Memo.model_validate(plan.memo)
        if restarted_at(Workload(memo.workload, live)) == memo.before:
            return False  # it never came to the restart
        raise Denied("a restart can't be undone: the pods of before are gone")

    async def _again(self, memo: _Memo) -> Workload:
        live = await self.api.get(memo.workload)
        if uid_of(live) != memo.uid:
            raise AnotherTemplate(f"{memo.workload} was deleted and made anew meanwhile")
        return Workload(memo.workload, live)

    async def _reasons(self, memo: _Memo, workload: Workload, how: Progress) -> str:
        pod = await stateful.obstacle(self.api, workload)
        return how.because(pod, await trouble.reasons(self.api, workload, since=memo.at))


def restarted_at(workload: Workload) -> str | None:
    """When somebody wanted it restarted last."""
    spec = spec_of(workload.live)
    if workload.ref.kind == ROLLOUT:
        return spec.get("restartAt")
    return annotations_of(spec["template"]).get(RESTARTED_AT)


def _now(besides: str | None) -> str:
    """The time in whole seconds; a second later, if it was restarted within this one."""
    now = datetime.now(UTC)
    told = [f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in (now, now + timedelta(seconds=1))]
    return told[told[0] == besides]


def _is_restarted(memo: _Memo, workload: Workload) -> bool:
    """Whether it was told so, by us or by somebody after us; kubectl writes local time."""
    told = restarted_at(workload)
    if told is None or told in (memo.before, memo.at):
        return told == memo.at
    try:
        return datetime.fromisoformat(told) > datetime.fromisoformat(memo.at)
    except (ValueError, TypeError):  # no time, or one without a zone
        return False


def _order(memo: _Memo) -> Object:
    if memo.workload.kind == ROLLOUT:
        return {"spec": {"restartAt": memo.at}}
    return {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: memo.at}}}}}


def _progress(workload: Workload) -> Progress:
    """A Rollout's controller notes the restart when the last pod is new."""
    if workload.ref.kind != ROLLOUT:
        return rollout.progress(workload)
    done = status_of(workload.live).get("restartedAt")
    if done != spec_of(workload.live).get("restartAt"):
        return Progress(
            "waiting",
            "its controller restarts pods only while all of its ReplicaSets are available",
        )
    if argo.is_held(workload.live):  # by an update, which is another story
        return rollout.availability(workload.live, workload.live)
    return rollout.progress(workload)
