"""resize: gives the containers of running pods more or less CPU and memory, in place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar

from pydantic import BaseModel

from keptn_remedy import Change, Context, Denied, Outcome, PermanentError, Plan
from keptn_remedy_actions.cluster import (
    POD,
    Object,
    Ref,
    Workload,
    counted,
    kube_events,
    meta_of,
    name_of,
    rollout,
    spec_of,
    status_of,
    uid_of,
)
from keptn_remedy_actions.cluster.action import ClusterAction, Target, check_same, looks
from keptn_remedy_actions.cluster.api import NotFound
from keptn_remedy_actions.cluster.compare_and_set import (
    ChangedMeanwhile,
    compare_and_set,
    foreseen,
)
from keptn_remedy_actions.cluster.compare_and_set import Field as Pointed
from keptn_remedy_actions.cluster.containers import (
    Wanted,
    contrary,
    index_of,
    is_infeasible,
    wanted,
    words_of,
)
from keptn_remedy_actions.cluster.pods import pods_of
from keptn_remedy_actions.cluster.resize_value import ResizeSettings, ResizeValue
from keptn_remedy_actions.cluster.targets import resolve

_RESIZE = "resize"
_TEMPLATE = "/spec/template/spec"


class _Sized(BaseModel):
    """A pod, and which of its fields change."""

    pod: Ref
    uid: str
    fields: list[Pointed]


class _Memo(Target):
    container: str
    pods: list[_Sized]
    template: list[Pointed]


class Resize(ClusterAction):
    """Change the CPU and memory of a container in the running pods of a workload."""

    name = "resize"
    aliases = ("resize-pods", "vertical-scale")

    Settings: ClassVar[Any] = ResizeSettings
    Value: ClassVar[Any] = ResizeValue

    settings: ResizeSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    async def plan(self, context: Context, value: ResizeValue) -> Plan:
        if value.template and not self.settings.templates:
            raise Denied("a change of templates needs RESIZE_TEMPLATES=true")
        workload = await resolve(self.api, self.settings, context, value)
        await self._check_offered()
        pods = await self._running(workload)
        container = _name_of_container(pods, value)
        made = [(pod, self._wanted(spec_of(pod), container, value)) for pod in pods]
        sized = [_sized(pod, each) for pod, each in made if each.fields]
        await self._check_admitted(sized)
        template = self._template(workload, container, value)
        if template:
            await foreseen(self.api, workload.ref, template)
        memo = _Memo(
            workload=workload.ref,
            uid=uid_of(workload.live),
            container=container,
            pods=sized,
            template=template,
        )
        notes = [*dict.fromkeys(note for _, each in made for note in each.notes)]
        if not sized and not template:
            notes = notes or [f"container {container} of {workload.ref} has that size already"]
        return Plan(tuple(_changes(memo)), (*notes, *value.notes), memo.model_dump(mode="json"))

    async def apply(self, context: Context, plan: Plan) -> None:
        memo = _Memo.model_validate(plan.memo)
        live = await self.there(memo.workload)
        check_same(memo.workload, live, memo.uid)
        gone = 0
        for each in memo.pods:
            try:
                await compare_and_set(self.api, each.pod, each.fields, _RESIZE, uid=each.uid)
            except NotFound:
                gone += 1
        if gone and gone == len(memo.pods) and not memo.template:
            raise PermanentError(f"all pods of {memo.workload} were replaced since")
        if memo.template:
            await compare_and_set(self.api, memo.workload, memo.template, uid=memo.uid)
        if plan.changes:
            await kube_events.record(
                self.api, context, memo.workload, live, "RemedyResized", str(plan)
            )

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        memo = _Memo.model_validate(plan.memo)
        why = ""
        async for _ in looks(context):
            try:
                there, why = await self._seen(memo)
            except _Never as error:
                return Outcome.failed(str(error))
            if memo.pods and not there and not memo.template:
                return Outcome.failed(f"all pods of {memo.workload} were replaced since")
            if not why:
                return Outcome.passed(_told(memo, there))
        return Outcome.failed(f"{memo.workload}: {why}")

    async def put_back(self, context: Context, plan: Plan, live: Object) -> bool | str:
        memo = _Memo.model_validate(plan.memo)
        check_same(memo.workload, live, memo.uid)
        restored, gone, left = 0, 0, list[str]()
        if memo.template:
            back = [field.reversed for field in memo.template]
            restored += await _restored(self.api, memo.workload, back, "", memo.uid, left)
        for each in memo.pods:
            back = [field.reversed for field in each.fields]
            try:
                restored += await _restored(self.api, each.pod, back, _RESIZE, each.uid, left)
            except NotFound:
                gone += 1
        if left and not restored:
            raise Denied("; ".join(left))
        if left:
            return f"undone in part: {'; '.join(left)}"
        if gone and not restored:
            return "nothing was left to undo: the pods of the plan were replaced"
        return restored > 0

    async def _running(self, workload: Workload) -> list[Object]:
        """Its pods, without those that ended.

        Raises:
            PermanentError: there are none.
        """
        pods = [pod for pod in await pods_of(self.api, workload) if _is_running(pod)]
        if not pods:
            raise PermanentError(f"{workload.ref} has no running pods")
        return pods

    async def _check_offered(self) -> None:
        """Refuse where the API server can't resize pods.

        Raises:
            Denied: it is older than Kubernetes 1.33, or has the feature switched off.
        """
        resources = await self.api.resources(POD.api_version)
        if not any(each["name"] == "pods/resize" for each in resources):
            raise Denied(
                "the cluster has no pods/resize: resizing in place needs Kubernetes 1.33 or newer"
            )

    def _wanted(self, spec: Object, container: str, value: ResizeValue) -> Wanted:
        index = index_of(spec, container)
        return wanted(spec, index, value.asked, self.settings.bounds)

    def _template(self, workload: Workload, container: str, value: ResizeValue) -> list[Pointed]:
        """What changes in the template; relative amounts are of what it has itself."""
        if not value.template:
            return []
        template: Object = spec_of(workload.live).get("template") or {}
        if not spec_of(template).get("containers"):
            raise PermanentError(f"{workload.ref} has no template of its own")
        index = index_of(spec_of(template), container)
        found = wanted(spec_of(template), index, value.asked, self.settings.bounds, root=_TEMPLATE)
        return list(found.fields)

    async def _check_admitted(self, pods: Sequence[_Sized]) -> None:
        """Ask for each different change whether the API server would let it through.

        Raises:
            PermanentError: it would be refused.
            Denied: admission would make something else of it.
        """
        different = {str(each.fields): each for each in pods}
        for each in different.values():
            seen = await foreseen(self.api, each.pod, each.fields, _RESIZE)
            for field, got in zip(each.fields, seen, strict=True):
                if got != field.after:
                    raise Denied(
                        f"the cluster's admission would make the {words_of(field)} of {each.pod}"
                        f" {got}, not {field.after}"
                    )

    async def _seen(self, memo: _Memo) -> tuple[int, str]:
        """How many of the plan's pods are still there, and what is not as planned yet.

        Raises:
            _Never: it won't become so.
        """
        lacking, there = list[str](), 0
        for each in memo.pods:
            try:
                pod = await self.api.get(each.pod)
            except NotFound:
                continue
            if uid_of(pod) != each.uid or meta_of(pod).get("deletionTimestamp"):
                continue
            there += 1
            if any(field.seen_in(pod) != field.after for field in each.fields):
                raise _Never(f"overridden: somebody gave {each.pod} another size since")
            if why := contrary(pod, memo.container, each.fields):
                if is_infeasible(pod):
                    raise _Never(f"{each.pod} can't be resized: {why}")
                lacking.append(f"{each.pod}: {why}")
        if memo.template and not lacking:
            workload = Workload(memo.workload, await self.there(memo.workload))
            how = rollout.progress(workload)
            lacking += [] if how.state == "complete" else [how.why]
        return there, "; ".join(lacking[:3])


class _Never(Exception):
    """The pods won't get their size; says why."""


async def _restored(
    api: Any, ref: Ref, back: Sequence[Pointed], subresource: str, uid: str, left: list[str]
) -> bool:
    """Whether something was put back; what somebody else changed is noted in `left`."""
    try:
        return await compare_and_set(api, ref, back, subresource, uid=uid)
    except ChangedMeanwhile as error:
        left.append(str(error))
        return False


def _is_running(pod: Object) -> bool:
    return status_of(pod).get("phase") in ("Running", "Pending")


def _name_of_container(pods: Sequence[Object], value: ResizeValue) -> str:
    spec = spec_of(pods[0])
    name: str = spec["containers"][index_of(spec, value.container)]["name"]
    return name


def _sized(pod: Object, found: Wanted) -> _Sized:
    namespace: str = pod["metadata"]["namespace"]
    return _Sized(pod=Ref(POD, namespace, name_of(pod)), uid=uid_of(pod), fields=list(found.fields))


def _changes(memo: _Memo) -> list[Change]:
    """One for each field and its values, with the number of pods: all are one workload's."""
    found = Counter(
        (words_of(field), str(field.before), str(field.after))
        for each in memo.pods
        for field in each.fields
    )
    target, lasting = memo.workload.target, "" if memo.template else ", until the next rollout"
    changes = [
        Change(
            target, f"{words} of {memo.container} in {counted(pods, 'pod')}{lasting}", before, after
        )
        for (words, before, after), pods in found.items()
    ]
    changes += [
        Change(target, f"{words_of(f)} of {memo.container} in its template", f.before, f.after)
        for f in memo.template
    ]
    return changes


def _told(memo: _Memo, there: int) -> str:
    """What was done, once it holds."""
    if not memo.pods and not memo.template:
        return f"{memo.workload} keeps its size"
    pods, gone = counted(len(memo.pods), "pod"), len(memo.pods) - there
    done = f"{memo.workload}: container {memo.container} was resized in {pods}"
    if memo.template:
        return f"{done} and in its template"
    if gone:
        done = f"{done}, of which {gone} {'was' if gone == 1 else 'were'} replaced since"
    return f"{done}; the next rollout takes it back"
