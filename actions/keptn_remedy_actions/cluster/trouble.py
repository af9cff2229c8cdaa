"""Why a workload does not become ready, as its conditions, its pods and its events tell."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress

from keptn_remedy_actions.cluster import (
    EVENT,
    POD,
    Object,
    Ref,
    Workload,
    name_of,
    spec_of,
    status_of,
)
from keptn_remedy_actions.cluster.api import FAILURES, ClusterApi

_MOST = 3
_LONGEST = 240
_WAITING_WELL = frozenset({"ContainerCreating", "PodInitializing"})


async def reasons(api: ClusterApi, workload: Workload) -> str:
    """The first few different ones; empty when nothing tells. What can't be seen is not told."""
    ref, labels = workload.ref, selector(workload.live)
    found = [*_of_conditions(workload.live)]
    if labels:  # without, all pods of the namespace would answer
        with suppress(*FAILURES):
            found += _of_pods(await api.list(POD, ref.namespace, labels=labels))
    with suppress(*FAILURES):
        found += _of_events(await _events(api, ref))
    return "; ".join(list(dict.fromkeys(each[:_LONGEST] for each in found))[:_MOST])


def selector(live: Object) -> str:
    """The label selector of a workload's pods, as a query has it."""
    wanted: Object = spec_of(live).get("selector") or {}
    exact: Object = wanted.get("matchLabels") or {}
    terms = [f"{key}={value}" for key, value in exact.items()]
    expressions: Sequence[Object] = wanted.get("matchExpressions") or ()
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
        for condition in status_of(pod).get("conditions") or ():
            if condition["type"] == "PodScheduled" and condition["status"] == "False":
                yield f"pod {name_of(pod)}: {condition.get('message') or 'not scheduled'}"
        for container in status_of(pod).get("containerStatuses") or ():
            state: Object = container.get("state") or {}
            waiting: Object = state.get("waiting") or {}
            if (reason := waiting.get("reason")) and reason not in _WAITING_WELL:
                yield f"pod {name_of(pod)}: {reason}: {waiting.get('message', '')}".rstrip(": ")


async def _events(api: ClusterApi, ref: Ref) -> Sequence[Object]:
    """Warnings about the workload itself; a StatefulSet's quota failures are nowhere else."""
    fields = f"involvedObject.kind={ref.kind.name},involvedObject.name={ref.name},type=Warning"
    return await api.list(EVENT, ref.namespace, fields=fields)


def _of_events(events: Sequence[Object]) -> Iterator[str]:
    newest_first = sorted(events, key=lambda e: e.get("lastTimestamp") or "", reverse=True)
    for event in newest_first:
        if event.get("message"):
            yield event["message"]
