"""Why a workload does not become ready, by its conditions, its pods and its events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, cast

from keptn_remedy_actions.cluster import (
    DEPLOYMENT,
    EVENT,
    POD,
    Object,
    Ref,
    Workload,
    condition_of,
    name_of,
    spec_of,
    status_of,
    uid_of,
)
from keptn_remedy_actions.cluster.answers import is_denial, shortened
from keptn_remedy_actions.cluster.api import FAILURES, ClusterApi

_MOST = 3
# The refusals of Pod Security name each field of each container.
_LONGEST = 600
_WAITING_WELL = frozenset({"ContainerCreating", "PodInitializing"})


async def reasons(api: ClusterApi, workload: Workload, *, labels: str = "", since: str = "") -> str:
    """The first few different reasons; empty if none is found. What can't be read is left out.

    `labels` select its pods, if its own selector has an uncommon form. Events before `since`
    (RFC 3339, UTC) don't count.
    """
    ref, labels = workload.ref, labels or selector(workload.live)
    found = [*_of_conditions(workload.live)]
    if labels:  # without labels, the list would have all pods of the namespace
        with suppress(*FAILURES):
            found += _of_pods(await api.list(POD, ref.namespace, labels=labels))
    with suppress(*FAILURES):
        events = await _events(api, ref)
        found += _of_events([each for each in events if _is_about(each, workload.live, since)])
    return "; ".join(list(dict.fromkeys(shortened(each, _LONGEST) for each in found))[:_MOST])


async def are_pods_refused(api: ClusterApi, workload: Workload, *, since: str) -> bool:
    """Whether admission denies the pods that its controller creates; False where nothing shows it.

    A Deployment has a condition for it, the other kinds have Events. A creation that failed for
    another reason may succeed the next time.
    """
    failure = condition_of(workload.live, "ReplicaFailure")
    if failure.get("status") == "True" and is_denial(failure):
        return True
    if workload.ref.kind == DEPLOYMENT:
        return False
    with suppress(*FAILURES):
        return any(
            event.get("reason") == "FailedCreate"
            and is_denial(event)
            and _is_about(event, workload.live, since)
            for event in await _events(api, workload.ref)
        )
    return False


def selector(live: Object) -> str:
    """The label selector of a workload's pods, as a query parameter; empty for uncommon forms."""
    wanted: Any = spec_of(live).get("selector")
    if not isinstance(wanted, dict):
        return ""
    structured = cast("Object", wanted)
    exact: Object = structured.get("matchLabels") or {}
    terms = [f"{key}={value}" for key, value in exact.items()]
    expressions: Sequence[Object] = structured.get("matchExpressions") or ()
    terms += map(_term, expressions)
    return ",".join(terms)


def _term(expression: Object) -> str:
    key, values = expression["key"], ",".join(expression.get("values") or ())
    match expression["operator"]:
        case "In":
            return f"{key} in ({values})"
        case "NotIn":
            return f"{key} notin ({values})"
        case "Exists":
            return f"{key}"
        case _:
            return f"!{key}"


def _of_conditions(live: Object) -> Iterator[str]:
    for condition in status_of(live).get("conditions") or ():
        kind, is_true = condition["type"], condition["status"] == "True"
        if (kind == "ReplicaFailure" and is_true) or (kind == "Progressing" and not is_true):
            yield condition.get("message") or condition.get("reason", kind)


def _of_pods(pods: Sequence[Object]) -> Iterator[str]:
    for pod in pods:
        status = status_of(pod)
        for condition in status.get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                yield f"pod {name_of(pod)}: {condition.get('message') or 'not scheduled'}"
        for statuses in ("initContainerStatuses", "containerStatuses"):
            for container in status.get(statuses) or ():
                if why := _of_container(container):
                    yield f"pod {name_of(pod)}: {why}"


def _of_container(container: Object) -> str:
    """Why a container is not ready; empty if it is, ended without error, or is just starting."""
    state: Object = container.get("state") or {}
    waiting: Object = state.get("waiting") or {}
    before: Object = container.get("lastState") or {}
    ended: Object = state.get("terminated") or before.get("terminated") or {}
    found: list[str] = []
    if (reason := waiting.get("reason")) and reason not in _WAITING_WELL:
        found.append(f"{reason}: {waiting.get('message', '')}".rstrip(": "))
    if ended.get("exitCode"):
        found.append(f"ended with {ended['exitCode']} ({ended.get('reason', 'no reason')})")
    if not found and "running" in state and not container.get("ready"):
        found.append(f"container {container['name']} runs, but is not ready")
    return ", ".join(found)


async def _events(api: ClusterApi, ref: Ref) -> Sequence[Object]:
    """Warnings about the workload itself: the only place for quota failures of a StatefulSet."""
    fields = f"involvedObject.kind={ref.kind.name},involvedObject.name={ref.name},type=Warning"
    return await api.list(EVENT, ref.namespace, fields=fields)


def _is_about(event: Object, live: Object, since: str) -> bool:
    """Whether the event is about this very object, and not from before `since`."""
    about: Object = event.get("involvedObject") or {}
    return about.get("uid") in (None, uid_of(live)) and _when(event) >= since[:19]


def _when(event: Object) -> str:
    """The event's last time; newer reporters use `eventTime` and `series` (events.k8s.io/v1)."""
    series: Object = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((time[:19] for time in times if time), "")


def _of_events(events: Sequence[Object]) -> Iterator[str]:
    for event in sorted(events, key=_when, reverse=True):
        if event.get("message"):
            yield event["message"]
