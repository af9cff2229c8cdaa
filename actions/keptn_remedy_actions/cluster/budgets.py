"""PodDisruptionBudgets: scaling down and restarting don't ask them, so plans look at them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from keptn_remedy import Denied
from keptn_remedy_actions.cluster import (
    Kind,
    Object,
    Workload,
    counted,
    labels_of,
    name_of,
    spec_of,
    status_of,
)
from keptn_remedy_actions.cluster.api import ClusterApi, Forbidden, NotFound
from keptn_remedy_actions.cluster.rollout import takes_pods_down

BUDGET = Kind("PodDisruptionBudget", "policy", "v1", "poddisruptionbudgets")
_OLD_BUDGET = Kind(
    "PodDisruptionBudget", "policy", "v1beta1", "poddisruptionbudgets"
)  # before 1.21


async def check_leaves_enough(api: ClusterApi, workload: Workload, wanted: int) -> None:
    """Refuse fewer replicas than a budget of the pods wants available. One in percent is relative
    to the number of replicas, so that it holds for any.

    Raises:
        Denied: there would be too few.
    """
    for budget in await _budgets_of(api, workload):
        least = spec_of(budget).get("minAvailable")
        if isinstance(least, int) and wanted < least:
            raise Denied(
                f"PodDisruptionBudget {name_of(budget)} wants {counted(least, 'pod')} available, so"
                f" {workload.ref} is not scaled down to {wanted}"
            )


async def notes(api: ClusterApi, workload: Workload) -> tuple[str, ...]:
    """A note for each budget that allows no disruption now, where a restart takes pods down before
    new ones are ready.
    """
    if not takes_pods_down(workload):
        return ()
    return tuple(
        f"PodDisruptionBudget {name_of(budget)} allows no disruption now, and a restart doesn't"
        " ask it"
        for budget in await _budgets_of(api, workload)
        if status_of(budget).get("expectedPods") and not status_of(budget).get("disruptionsAllowed")
    )


async def _budgets_of(api: ClusterApi, workload: Workload) -> list[Object]:
    """The budgets of its pods; none where we have no right to list them."""
    template: Object = spec_of(workload.live).get("template") or {}
    labels, namespace = labels_of(template), workload.ref.namespace
    try:
        found = await api.list(BUDGET, namespace)
    except Forbidden:
        return []
    except NotFound:
        found = await api.list(_OLD_BUDGET, namespace)
    return [each for each in found if labels and _selects(spec_of(each).get("selector"), labels)]


def _selects(selector: Object | None, labels: Mapping[str, str]) -> bool:
    if not selector:  # means all pods or none, by version
        return False
    exact: Mapping[str, str] = selector.get("matchLabels") or {}
    terms: Sequence[Object] = selector.get("matchExpressions") or ()
    return exact.items() <= labels.items() and all(_meets(term, labels) for term in terms)


def _meets(term: Object, labels: Mapping[str, str]) -> bool:
    there, values = term["key"] in labels, term.get("values") or ()
    match term["operator"]:
        case "In":
            return labels.get(term["key"]) in values
        case "NotIn":
            return labels.get(term["key"]) not in values
        case "Exists":
            return there
        case _:
            return not there
