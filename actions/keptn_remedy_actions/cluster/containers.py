"""The CPU and memory of a pod's containers: what they have, and what a change makes of it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from keptn_remedy import Denied, PermanentError
from keptn_remedy_actions.cluster import Object, condition_of, status_of
from keptn_remedy_actions.cluster.amounts import Amount, Resource, grain_of, parsed, written
from keptn_remedy_actions.cluster.compare_and_set import Field

RESOURCES: tuple[Resource, ...] = ("cpu", "memory")
_PARTS = {"requests": "request", "limits": "limit"}
_SHOWN = 300


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that a container may get of a resource, and how far one execution may go: `step` is
    the factor by which it may grow at most, or shrink. The settings that say so are named after it.
    """

    resource: Resource
    most: Fraction
    step: Amount

    def clamped(self, before: Fraction, after: Fraction) -> tuple[Fraction, str]:
        """The amount within the bounds, and the setting that changed it. What is above the most
        already may only shrink.
        """
        grain = grain_of(self.resource, before)
        most, least = self.step.of(before, grain), before / self.step.number
        limit, by = min((most, "STEP"), (max(self.most, before), "MOST"))
        if after > limit:
            return limit, f"RESIZE_{by}_{self.resource.upper()}"
        least = math.floor(least / grain) * grain
        return (least, f"RESIZE_STEP_{self.resource.upper()}") if after < least else (after, "")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one container is to get, and how that was restricted."""

    fields: tuple[Field, ...]
    notes: tuple[str, ...] = ()


def index_of(spec: Object, name: str | None) -> int:
    """Where a container is in the specification of a pod.

    Raises:
        PermanentError: there is none of that name, or none was named and there are several.
    """
    names = [each["name"] for each in spec.get("containers") or ()]
    if name is None and len(names) == 1:
        return 0
    if name in names:
        return names.index(name)
    there = ", ".join(names)
    if name is None:
        raise PermanentError(f"value.container must name one of the containers: {there}")
    raise PermanentError(f"there is no container {name!r}; there are {there}")


def wanted(
    spec: Object,
    index: int,
    asked: Mapping[Resource, Amount],
    bounds: Mapping[Resource, Bounds],
    root: str = "/spec",
) -> Wanted:
    """What the container gets. A relative amount is that of its request and of its limit. Another
    one becomes its limit, and its request where both were the same, or it has no limit.

    Raises:
        PermanentError: it has nothing of a resource, or its request would be above its limit.
        Denied: the pod's QoS class would change.
    """
    container: Object = spec["containers"][index]
    fields: list[Field] = []
    notes: list[str] = []
    for resource, amount in asked.items():
        made = _sized(container, resource, amount, bounds[resource], notes)
        pointer = f"{root}/containers/{index}/resources"
        for part, (before, after) in made.items():
            fields.append(Field(f"{pointer}/{part}/{resource}", before, written(resource, after)))
    _check_quality(spec, index, fields)
    changed = tuple(field for field in fields if field.before != field.after)
    notes += _restarts(container, changed)
    return Wanted(changed, tuple(dict.fromkeys(notes)))


def words_of(field: Field) -> str:
    """The field in words: `memory limit`."""
    *_, part, resource = field.pointer.split("/")
    return f"{resource} {_PARTS[part]}"


def contrary(pod: Object, container: str, fields: Sequence[Field]) -> str:
    """Why the container doesn't have its new size yet; empty once it has."""
    pending = condition_of(pod, "PodResizePending")
    if pending.get("status") == "True":
        return f"{pending.get('reason', 'pending')}: {pending.get('message', '')}".rstrip(": ")
    statuses = status_of(pod).get("containerStatuses") or ()
    named = [each for each in statuses if each["name"] == container]
    actual: Object = (named[0].get("resources") or {}) if named else {}
    for field in fields:
        *_, part, resource = field.pointer.split("/")
        sizes: Object = actual.get(part) or {}
        seen = sizes.get(resource)
        if seen is None or parsed(seen) != parsed(field.after):
            under_way = condition_of(pod, "PodResizeInProgress").get("message")
            return under_way or f"its {words_of(field)} is still {seen or 'unknown'}"
    return ""


def is_infeasible(pod: Object) -> bool:
    """Whether the kubelet says that the node can never give it the new size."""
    pending = condition_of(pod, "PodResizePending")
    return pending.get("status") == "True" and pending.get("reason") == "Infeasible"


def _sized(
    container: Object, resource: Resource, asked: Amount, bounds: Bounds, notes: list[str]
) -> dict[str, tuple[str, Fraction]]:
    """What becomes of the request and the limit, each with what was there."""
    resources: Object = container.get("resources") or {}
    there = {p: str(resources[p][resource]) for p in _PARTS if resource in (resources.get(p) or {})}
    if not there:
        raise PermanentError(
            f"container {container['name']} has neither a request nor a limit of {resource}: giving"
            " it one would change the QoS class of its pod"
        )
    kept = {part: parsed(text) for part, text in there.items()}
    apart = len(kept) == 2 and kept["requests"] != kept["limits"]
    if not asked.is_relative and apart:
        del there["requests"]
    made: dict[str, tuple[str, Fraction]] = {}
    for part, text in there.items():
        before = kept[part]
        after = asked.of(before, grain_of(resource, before))
        if after <= 0:
            raise PermanentError(f"container {container['name']} would be left without {resource}")
        made[part] = text, _bounded(before, after, bounds, notes)
    after_all = kept | {part: after for part, (_, after) in made.items()}
    if len(after_all) == 2 and after_all["requests"] > after_all["limits"]:
        request, limit = (written(resource, after_all[part]) for part in _PARTS)
        raise PermanentError(
            f"the {resource} request of container {container['name']}, {request}, would be above"
            f" its limit, {limit}"
        )
    return made


def _restarts(container: Object, fields: Sequence[Field]) -> Iterator[str]:
    """A note where a change of the resource restarts the container."""
    changed = {field.pointer.rpartition("/")[2] for field in fields}
    for policy in container.get("resizePolicy") or ():
        resource = policy.get("resourceName")
        if resource in changed and policy.get("restartPolicy") != "NotRequired":
            yield f"container {container['name']} restarts, as its resizePolicy says for {resource}"


def _bounded(before: Fraction, after: Fraction, bounds: Bounds, notes: list[str]) -> Fraction:
    """Within the bounds; a note says where that isn't what was asked for."""
    within, setting = bounds.clamped(before, after)
    if setting:
        asked, made = (written(bounds.resource, amount) for amount in (after, within))
        left = "left at" if within == before else "set to"
        notes.append(f"asked for {asked} of {bounds.resource}, but {setting}: {left} {made}")
    return within


def _check_quality(spec: Object, index: int, fields: Sequence[Field]) -> None:
    """Refuse a change of the pod's QoS class, as the API server would.

    Raises:
        Denied: names both.
    """
    before = [_resources(each) for each in _containers(spec)]
    after = [_resources(each) for each in _containers(spec)]
    for field in fields:
        *_, part, resource = field.pointer.split("/")
        after[index][part, resource] = parsed(field.after)
    was, becomes = _quality(before), _quality(after)
    if was != becomes:
        raise Denied(f"the QoS class of the pod would change from {was} to {becomes}")


def _containers(spec: Object) -> list[Object]:
    return [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]


def _resources(container: Object) -> dict[tuple[str, str], Fraction]:
    """Its requests and limits of what makes its QoS class, without those of 0."""
    resources: Object = container.get("resources") or {}
    found = dict[tuple[str, str], Fraction]()
    for part in _PARTS:
        sizes: Object = resources.get(part) or {}
        found |= {(part, name): parsed(sizes[name]) for name in RESOURCES if name in sizes}
    return {key: amount for key, amount in found.items() if amount}


def _quality(containers: Sequence[Mapping[tuple[str, str], Fraction]]) -> str:
    """As Kubernetes computes it (`ComputePodQOS`)."""
    if not any(containers):
        return "BestEffort"
    for each in containers:
        for resource in RESOURCES:
            limit = each.get(("limits", resource))
            if limit is None or each.get(("requests", resource), limit) != limit:
                return "Burstable"
    return "Guaranteed"
