"""restart: replaces the pods of a workload, like `kubectl rollout restart`, and watches them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, ClassVar

from keptn_remedy import Change, Context, Denied, Outcome, Plan
from keptn_remedy_actions.cluster import (
    ROLLOUT,
    Object,
    Workload,
    annotations_of,
    argo,
    budgets,
    kube_events,
    obstacles,
    rollout,
    spec_of,
    stateful,
    status_of,
    trouble,
    uid_of,
    version_of,
)
from keptn_remedy_actions.cluster.action import ClusterAction, Target, looks
from keptn_remedy_actions.cluster.api import MERGE_PATCH, Conflict, Unprocessable, rfc3339
from keptn_remedy_actions.cluster.managers import who_set
from keptn_remedy_actions.cluster.rehearsal import check_changed, rehearse
from keptn_remedy_actions.cluster.revisions import RESTARTED_AT
from keptn_remedy_actions.cluster.rollout import Progress
from keptn_remedy_actions.cluster.standstill import Standstill
from keptn_remedy_actions.cluster.swap import AnotherTemplate
from keptn_remedy_actions.cluster.targets import TargetValue, resolve


class _Memo(Target):
    """The plan's memo: the workload, and the time that identifies this restart."""

    at: str
    before: str | None
    """The time that was there. It may be in the future: a skewed clock or a scheduled restart."""
    available: int | None = None
    """How many pods were available at planning; older plans lack it."""


class Restart(ClusterAction):
    """Replace all pods of a workload, as its update strategy says."""

    name = "restart"
    aliases = ("rollout-restart", "restart-pods")
    undo_on_failed_verification = False
    deadline = 600.0

    Value: ClassVar[Any] = TargetValue

    async def plan(self, context: Context, value: TargetValue) -> Plan:
        workload = await resolve(self.api, self.settings, context, value)
        if workload.ref.kind != ROLLOUT:  # its controller also restarts the pods of a paused one
            rollout.check_follows_its_template(workload, "a restart would not begin")
        obstacles.check_can_act(workload.ref, workload.live)
        before = restarted_at(workload)
        at = _unlike(before, self.api.now())
        memo = _Memo(
            workload=workload.ref,
            uid=uid_of(workload.live),
            at=at,
            before=before,
            available=rollout.available_of(workload),
        )
        await self._check_admitted(memo)
        change = Change(workload.ref.target, "restartedAt", before, at)
        empty = rollout.is_empty(workload)
        notes = (f"{workload.ref} has no pods to restart",) if empty else ()
        notes = (
            *notes,
            *rollout.partition_notes(workload),
            *rollout.restart_notes(workload),
            *await budgets.notes(self.api, workload),
        )
        return Plan((change,), (*notes, *value.notes), memo.model_dump(mode="json"))

    async def apply(self, context: Context, plan: Plan) -> None:
        memo = _Memo.model_validate(plan.memo)
        workload = await self._again(memo)
        if not _is_restarted(memo, workload):
            await self._order(memo, workload)
        message = f"restarted at {memo.at}"
        await kube_events.record(
            self.api, context, memo.workload, workload.live, "RemedyRestarted", message
        )

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = _Memo.model_validate(plan.memo)
        workload, how = Workload(memo.workload, {}), Progress("waiting")
        standstill = Standstill(self.api, memo.workload, since=memo.at)
        async for _ in looks(context):
            workload = await self._again(memo)
            if not _is_restarted(memo, workload):
                who = who_set(workload.live, "/spec/template", memo.at)
                return Outcome.failed(f"overridden: {who} reverted the restart of {memo.workload}")
            how = _progress(workload)
            before = None if how is _NOT_BEGUN else memo.available  # it is as before, and no more
            if how.state != "waiting" or await standstill.will_last(workload, before):
                break
        if how.state == "complete":
            return Outcome.passed(f"{memo.workload} restarted, all pods are available")
        why = await self._reasons(memo, workload) if workload.live else ""
        if how is not _NOT_BEGUN and (kept := rollout.as_before(workload, memo.available, why)):
            return Outcome.warned(f"{memo.workload} restarted, {kept}")
        why = how.because(why)
        return Outcome.failed(f"{memo.workload} is not available after its restart: {why}")

    def essence(self, plan: Plan) -> list[str]:
        # `restartedAt` is the time of the plan, which differs.
        return [change.target for change in plan.changes]

    async def put_back(self, context: Context, plan: Plan, live: Object) -> bool:
        memo = _Memo.model_validate(plan.memo)
        if restarted_at(Workload(memo.workload, live)) == memo.before:
            return False  # it was never restarted
        raise Denied("a restart can't be undone: the old pods are gone")

    async def _order(self, memo: _Memo, workload: Workload) -> None:
        # Race: the workload may be made anew before this arrives. No object changes its uid.
        body = {"metadata": {"uid": memo.uid}, **_order(memo)}
        try:
            await self.api.patch(memo.workload, MERGE_PATCH, body)
        except Unprocessable:
            await self._again(memo)
            raise
        except Conflict as error:
            now = await self._again(memo)
            check_changed(error, version_of(workload.live), version_of(now.live))
            raise

    async def _check_admitted(self, memo: _Memo) -> None:
        """Ask whether the cluster's admission would let the order through.

        Raises:
            PermanentError: it would be refused.
            Denied: it would be removed.
        """
        answer = await rehearse(self.api, memo.workload, MERGE_PATCH, _order(memo))
        if answer is not None and not _is_restarted(memo, Workload(memo.workload, answer)):
            raise Denied(f"the cluster's admission would remove the restart of {memo.workload}")

    async def _again(self, memo: _Memo) -> Workload:
        live = await self.api.get(memo.workload)
        if uid_of(live) != memo.uid:
            raise AnotherTemplate(f"{memo.workload} was deleted and recreated meanwhile")
        obstacles.check_stays(memo.workload, live)
        return Workload(memo.workload, live)

    async def _reasons(self, memo: _Memo, workload: Workload) -> str:
        pod = await stateful.obstacle(self.api, workload)
        why = await trouble.reasons(self.api, workload, since=memo.at)
        return "; ".join(filter(None, (pod, why)))


_NOT_BEGUN = Progress("waiting", rollout.RESTARTED_WHEN_AVAILABLE)


def restarted_at(workload: Workload) -> str | None:
    """The time of the last order to restart it."""
    spec = spec_of(workload.live)
    if workload.ref.kind == ROLLOUT:
        return spec.get("restartAt")
    return annotations_of(spec["template"]).get(RESTARTED_AT)


def _unlike(before: str | None, now: datetime) -> str:
    """The time in whole seconds, or a second later if it would be equal to that of before.

    An equal time would restart nothing.
    """
    if rfc3339(now) == before:
        now += timedelta(seconds=1)
    return rfc3339(now)


def _is_restarted(memo: _Memo, workload: Workload) -> bool:
    """Whether it has our order to restart, or a later one; kubectl writes local time."""
    ordered = restarted_at(workload)
    if ordered is None or ordered in (memo.before, memo.at):
        return ordered == memo.at
    try:
        return datetime.fromisoformat(ordered) > datetime.fromisoformat(memo.at)
    except (ValueError, TypeError):  # not a time, or one without a zone
        return False


def _order(memo: _Memo) -> Object:
    if memo.workload.kind == ROLLOUT:
        return {"spec": {"restartAt": memo.at}}
    return {"spec": {"template": {"metadata": {"annotations": {RESTARTED_AT: memo.at}}}}}


def _progress(workload: Workload) -> Progress:
    """How far the restart is; a Rollout's status has it once the last pod is new."""
    if workload.ref.kind != ROLLOUT:
        return rollout.progress(workload)
    done = status_of(workload.live).get("restartedAt")
    if done != spec_of(workload.live).get("restartAt"):
        return _NOT_BEGUN
    if argo.is_held(workload.live):  # by an update, which the restart doesn't wait for
        return rollout.availability(workload.live, workload.live)
    return rollout.progress(workload)
