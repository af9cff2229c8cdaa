"""argocd: syncs an Application of Argo CD, or rolls it back, by its resource."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Never, Self

from aiohttp import ClientSession
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator, model_validator

from keptn_remedy import (
    Change,
    Context,
    Denied,
    Finding,
    Outcome,
    PermanentError,
    Plan,
    TemporaryError,
)
from keptn_remedy_actions.cluster import (
    Object,
    Ref,
    Workload,
    argocd,
    kube_events,
    obstacles,
    owners,
    rights,
    status_of,
    uid_of,
    version_of,
)
from keptn_remedy_actions.cluster.action import ClusterAction, Target, check_same, looks
from keptn_remedy_actions.cluster.api import JSON_PATCH, Conflict, Unprocessable
from keptn_remedy_actions.cluster.argocd import APPLICATION, AUTOMATED
from keptn_remedy_actions.cluster.rehearsal import rehearse
from keptn_remedy_actions.cluster.settings import KubernetesSettings, checked_template
from keptn_remedy_actions.cluster.targets import SUBDOMAIN, check_name, filled

_MOST_CONFLICTS = 10


class ArgoCdSettings(KubernetesSettings):
    """Where Applications are, and which one is meant."""

    namespace: str = Field(min_length=1, validation_alias=AliasChoices("argocd_namespace"))
    """The namespace of the Applications, usually `argocd`. Without it `argocd` is off."""
    application_template: str = Field(
        default="{project}-{stage}-{service}",
        validation_alias=AliasChoices("argocd_application_template"),
    )
    """The Application's name, of {project}, {stage}, {service} and {labels[x]} of the trigger."""
    prune: bool = Field(default=False, validation_alias=AliasChoices("argocd_prune"))
    """Whether a value may have resources deleted that Git no longer has."""

    @field_validator("application_template")
    @classmethod
    def _known_names(cls, template: str) -> str:
        return checked_template(template)


class ArgoCdValue(BaseModel):
    """What is done with which Application; `operation` alone may be a text."""

    model_config = ConfigDict(extra="forbid")

    operation: Literal["sync", "rollback"]
    application: str | None = None
    id: int | None = Field(default=None, ge=0)
    """The entry of the history to roll back to. By default the one before the last."""
    revision: str | None = Field(default=None, min_length=1, max_length=200)
    """What is synced. By default what the Application targets."""
    prune: bool = False
    """Whether resources are deleted that Git no longer has."""

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, given: Any) -> Any:
        return {"operation": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.operation == "sync" and self.id is not None:
            raise ValueError("`id` belongs to a rollback; a sync takes `revision`")
        if self.operation == "rollback" and self.revision is not None:
            raise ValueError("`revision` belongs to a sync; a rollback takes `id`")
        return self


class _Memo(Target):
    """The plan's memo: the operation, the sync policy before, and what undo would deploy again."""

    order: dict[str, Any]
    automated: dict[str, Any] | None
    """The automated sync policy that a rollback takes away; None where none is."""
    back: dict[str, Any] | None
    """The sync of what was deployed before; None where Argo CD syncs by itself."""
    before: str
    after: str
    began: str | None


class ArgoCd(ClusterAction):
    """Sync an Application of Argo CD, or roll it back to what was deployed before."""

    name = "argocd"
    aliases = ("argo-cd", "argocd-application")
    deadline = 600.0

    Settings: ClassVar[Any] = ArgoCdSettings
    Value: ClassVar[Any] = ArgoCdValue

    settings: ArgoCdSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    async def diagnose(self, http: ClientSession, namespaces: Sequence[str]) -> Sequence[Finding]:
        return await rights.diagnose(self.api, self.name, [self.settings.namespace])

    async def plan(self, context: Context, value: ArgoCdValue) -> Plan:
        if value.prune and not self.settings.prune:
            raise Denied("pruning needs ARGOCD_PRUNE=true")
        ref, live = await self._found(context, value)
        obstacles.check_stays(ref, live)
        argocd.check_is_free(live)
        made = _rollback if value.operation == "rollback" else _sync
        memo = made(context, ref, live, value)
        takes_policy = memo.automated is not None
        notes = owners.judge(self.settings, [Workload(ref, live)]) if takes_policy else ()
        await rehearse(self.api, ref, JSON_PATCH, _patch(memo, live)[1:])
        return Plan(tuple(_changes(memo)), notes, memo.model_dump(mode="json"))

    async def apply(self, context: Context, plan: Plan) -> None:
        memo = _Memo.model_validate(plan.memo)
        live = await self._ordered(memo, context.trigger.id)
        await kube_events.record(self.api, context, memo.workload, live, "RemedySynced", str(plan))

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = _Memo.model_validate(plan.memo)
        said = "Argo CD has not begun yet"
        async for _ in looks(context):
            live = await self.there(memo.workload)
            if memo.automated is not None and argocd.is_automated(live):
                return Outcome.failed(
                    f"overridden: somebody let Argo CD sync {memo.workload} again"
                )
            is_over, said = _progress(memo, live, context.trigger.id)
            if is_over:
                return Outcome.failed(f"{memo.workload}: {said}") if said else _passed(memo)
        return Outcome.failed(f"{memo.workload}: {said}")

    async def put_back(self, context: Context, plan: Plan, live: Object) -> bool | str:
        memo = _Memo.model_validate(plan.memo)
        execution = f"undo of {context.trigger.id}"
        check_same(memo.workload, live, memo.uid)
        if argocd.is_asked(live, execution):
            return True
        if argocd.is_of(live.get("operation") or {}, context.trigger.id):
            return await self._withdrawn(memo, live)
        is_last = argocd.is_asked(live, context.trigger.id)
        if is_last and argocd.is_under_way(live):
            await self._terminated(memo, live)
        if memo.automated is not None:
            return await self._restored(memo, live, is_last=is_last)
        if memo.back is None:
            raise Denied(f"Argo CD syncs {memo.workload} by itself, so a sync can't be undone")
        if argocd.deployed(live) == memo.before and not is_last:
            return False
        if not is_last:
            raise Denied(f"another operation changed {memo.workload} since, so it is left alone")
        order = argocd.operation(memo.back, execution, argocd.options_of(live))
        await self._ordered(memo.model_copy(update={"order": order, "began": None}), execution)
        return f"undone: Argo CD was told to deploy {memo.before} again"

    async def _withdrawn(self, memo: _Memo, live: Object) -> str:
        """Take an operation back that Argo CD has not begun."""
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version_of(live)},
            {"op": "remove", "path": "/operation"},
        ]
        if memo.automated is not None and argocd.automated_of(live) is None:
            operations.append({"op": "add", "path": AUTOMATED, "value": memo.automated})
        await self._patched(memo.workload, operations)
        return "undone: Argo CD had not begun the operation"

    async def _terminated(self, memo: _Memo, live: Object) -> Never:
        """Have Argo CD end the operation, as `argocd app terminate-op` does: nothing else can be
        done before it has.

        Raises:
            TemporaryError: it hasn't.
        """
        if argocd.state_of(live).get("phase") == "Running":
            operations: list[dict[str, Any]] = [
                {"op": "test", "path": "/metadata/resourceVersion", "value": version_of(live)},
                {"op": "replace", "path": argocd.PHASE, "value": argocd.TERMINATING},
            ]
            await self._patched(memo.workload, operations)
        raise TemporaryError(f"Argo CD has not ended the operation of {memo.workload} yet")

    async def _restored(self, memo: _Memo, live: Object, *, is_last: bool) -> bool | str:
        """Give it its automated sync policy back. `is_last`: no other operation came since."""
        if argocd.automated_of(live) == memo.automated:
            return False
        if argocd.automated_of(live) is not None:
            raise Denied(f"somebody gave {memo.workload} another sync policy since: left alone")
        if not is_last:
            raise Denied(
                f"somebody else changed {memo.workload} since, so its sync policy is left alone"
            )
        operations: list[dict[str, Any]] = [
            {"op": "test", "path": "/metadata/resourceVersion", "value": version_of(live)},
            {"op": "add", "path": AUTOMATED, "value": memo.automated},
        ]
        if "syncPolicy" not in live["spec"]:
            policy = {"automated": memo.automated}
            operations[1] = {"op": "add", "path": "/spec/syncPolicy", "value": policy}
        await self._patched(memo.workload, operations)
        return f"undone: Argo CD syncs {memo.workload} by itself again, to what Git has"

    async def _found(self, context: Context, value: ArgoCdValue) -> tuple[Ref, Object]:
        template = self.settings.application_template
        name = value.application or filled(template, context.trigger)
        check_name("Application", name, SUBDOMAIN)
        ref = Ref(APPLICATION, self.settings.namespace, name)
        return ref, await self.api.get(ref)

    async def _ordered(self, memo: _Memo, execution: str) -> Object:
        """The Application, once it has the operation; it is asked for once.

        Raises:
            Denied: another operation came first.
            Conflict: it was changed again and again.
        """
        for _ in range(_MOST_CONFLICTS):
            live = await self.there(memo.workload)
            check_same(memo.workload, live, memo.uid)
            if argocd.is_asked(live, execution):
                return live
            argocd.check_is_free(live)
            if memo.began is not None and argocd.began(live) != memo.began:
                raise Denied(f"another operation changed {memo.workload} since the plan")
            if memo.automated is not None and argocd.automated_of(live) != memo.automated:
                raise Denied(f"the sync policy of {memo.workload} was changed since the plan")
            try:
                await self._patched(memo.workload, _patch(memo, live))
            except Conflict:
                continue
            return live
        raise Conflict(f"{memo.workload} was changed {_MOST_CONFLICTS} times while we read it")

    async def _patched(self, ref: Ref, operations: list[dict[str, Any]]) -> None:
        try:
            await self.api.patch(ref, JSON_PATCH, operations)
        except Unprocessable:
            version = operations[0]["value"]
            if version_of(await self.there(ref)) == version:
                raise  # refused for another reason than the test
            raise Conflict(f"{ref} was changed at the same time") from None


def _rollback(context: Context, ref: Ref, live: Object, value: ArgoCdValue) -> _Memo:
    entry = argocd.entry_of(live, value.id)
    if not (entry.get("source") or entry.get("sources")):
        raise PermanentError(f"the history of {ref} doesn't say where {entry.get('id')} came from")
    sync = argocd.sync_of(entry, prune=value.prune)
    is_automated = argocd.is_automated(live)
    return _memo(context, ref, live, sync, argocd.revision_of(entry), takes_policy=is_automated)


def _sync(context: Context, ref: Ref, live: Object, value: ArgoCdValue) -> _Memo:
    sync: dict[str, Any] = {"prune": value.prune}
    spec: Object = live["spec"]
    if value.revision and spec.get("sources"):
        raise PermanentError(f"{ref} has several sources, and one revision can't be that of all")
    if value.revision:
        sync["revision"] = value.revision
    target: Object = spec.get("source") or {}
    after = value.revision or str(target.get("targetRevision") or "HEAD")
    return _memo(context, ref, live, sync, after, takes_policy=False)


def _memo(
    context: Context, ref: Ref, live: Object, sync: Object, after: str, *, takes_policy: bool
) -> _Memo:
    history = argocd.history_of(live)
    can_return = history and not argocd.is_automated(live)
    return _Memo(
        workload=ref,
        uid=uid_of(live),
        order=argocd.operation(sync, context.trigger.id, argocd.options_of(live)),
        automated=argocd.automated_of(live) if takes_policy else None,
        back=argocd.sync_of(history[-1], prune=False) if can_return else None,
        before=argocd.deployed(live),
        after=after,
        began=argocd.began(live),
    )


def _patch(memo: _Memo, live: Object) -> list[dict[str, Any]]:
    """The operation, and the end of the automated sync with it: Argo CD refuses one beside it."""
    operations: list[dict[str, Any]] = [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version_of(live)}
    ]
    if memo.automated is not None:
        operations.append({"op": "remove", "path": AUTOMATED})
    return [*operations, {"op": "add", "path": "/operation", "value": memo.order}]


def _changes(memo: _Memo) -> list[Change]:
    target = memo.workload.target
    changes = [Change(target, "deployed revision", memo.before or None, memo.after)]
    if memo.automated is not None:
        changes.append(Change(target, "automated sync policy", memo.automated, None))
    return changes


def _progress(memo: _Memo, live: Object, execution: str) -> tuple[bool, str]:
    """Whether it is over, and what is wrong or still to come."""
    state = argocd.state_of(live)
    if not argocd.is_asked(live, execution):
        return True, "overridden: another operation took the place of this one"
    if live.get("operation") or not argocd.is_of(state.get("operation") or {}, execution):
        return False, "Argo CD has not begun yet"
    phase, message = state.get("phase"), state.get("message") or "no message"
    if phase in ("Failed", "Error"):
        return True, f"the operation ended as {phase}: {message}"
    if phase != "Succeeded":
        return False, f"the operation is {phase}: {message}"
    return _health(live, str(state.get("finishedAt") or ""))


def _health(live: Object, ended: str) -> tuple[bool, str]:
    """Whether it is healthy since the operation ended; what was degraded may take a while."""
    if str(status_of(live).get("reconciledAt") or ended) < ended:
        return False, "deployed, but Argo CD has not looked at its health since"
    health: Object = status_of(live).get("health") or {}
    if health.get("status") in ("Healthy", "Suspended"):
        return True, ""
    told = ": ".join(filter(None, (health.get("status", "Unknown"), health.get("message"))))
    return False, f"deployed, but not healthy: {told}"


def _passed(memo: _Memo) -> Outcome:
    said = f"{memo.workload}: Argo CD deployed {memo.after}, and it is healthy"
    if memo.automated is None:
        return Outcome.passed(said)
    return Outcome.passed(f"{said}; it is not synced automatically until this is undone")
