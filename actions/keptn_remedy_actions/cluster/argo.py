"""Argo Rollouts: what their status means, and how their updates are aborted."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from keptn_remedy_actions.cluster import (
    Object,
    Ref,
    annotations_of,
    meta_of,
    spec_of,
    status_of,
)
from keptn_remedy_actions.cluster.api import MERGE_PATCH, ClusterApi, NotFound

REVISION = "rollout.argoproj.io/revision"
_EPHEMERAL = "rollout.argoproj.io/ephemeral-metadata"


def is_updating(rollout: Object) -> bool:
    """Whether an update is under way and was not aborted."""
    status = status_of(rollout)
    stable = status.get("stableRS")
    return bool(stable) and stable != status.get("currentPodHash") and not is_aborted(rollout)


def is_observed(rollout: Object, holder: Object) -> bool:
    """Whether the status is about the live template in `holder` (`isGenerationObserved`).

    The status has generations as text; releases before 0.10 had a hash there.
    """
    status = status_of(rollout)
    observed = status.get("observedGeneration")
    if not observed or not covers(observed, rollout):
        return False
    return holder is rollout or covers(status.get("workloadObservedGeneration"), holder)


def covers(observed: Any, found: Object) -> bool:
    """Whether an observed generation, a number or its text, is the object's current one."""
    text = str(observed)
    return not text.isdecimal() or int(text) >= meta_of(found).get("generation", 0)


def is_aborted(rollout: Object) -> bool:
    return bool(status_of(rollout).get("abort"))


def has_aborted(rollout: Object) -> bool:
    """Whether the controller carried out the abort; it may have been Degraded before."""
    status = status_of(rollout)
    return status.get("phase") == "Degraded" and bool(status.get("abortedAt"))


def is_held(rollout: Object) -> bool:
    """Whether it is paused until somebody promotes it."""
    strategy: Object = spec_of(rollout).get("strategy") or {}
    blue_green: Object = strategy.get("blueGreen") or {}
    ends_by_itself = {
        "CanaryPauseStep": _pause(rollout).get("duration") is not None,
        "BlueGreenPause": blue_green.get("autoPromotionSeconds") is not None,
    }
    pauses: Sequence[Object] = status_of(rollout).get("pauseConditions") or ()
    return any(not ends_by_itself.get(pause.get("reason", "")) for pause in pauses)


def _pause(rollout: Object) -> Object:
    """The current step of a canary, if it is a pause."""
    strategy: Object = spec_of(rollout).get("strategy") or {}
    canary: Object = strategy.get("canary") or {}
    steps: Sequence[Object] = canary.get("steps") or ()
    index: int = status_of(rollout).get("currentStepIndex") or 0
    return (steps[index].get("pause") or {}) if index < len(steps) else {}


def is_stable(rollout: Object, replica_set: str) -> bool:
    """Whether this ReplicaSet was promoted last; its name ends with its hash."""
    stable = status_of(rollout).get("stableRS")
    return bool(stable) and replica_set.endswith(f"-{stable}")


async def set_abort(api: ClusterApi, rollout: Ref, live: Object, *, abort: bool) -> None:
    """Abort the update, or end the abort, unless the Rollout was changed since it was read."""
    version = {"resourceVersion": meta_of(live)["resourceVersion"]}
    body = {"metadata": version, "status": {"abort": abort}}
    try:
        await api.patch(rollout, MERGE_PATCH, body, "status")
    except NotFound:  # a CustomResourceDefinition without the status subresource
        await api.patch(rollout, MERGE_PATCH, body)


def without_ephemeral(replica_set: Object, template: Object) -> Object:
    """The template without what `canaryMetadata` and `stableMetadata` added to it."""
    lent = _parsed(annotations_of(replica_set).get(_EPHEMERAL, ""))
    meta: dict[str, Any] = dict(meta_of(template))
    for field in ("labels", "annotations"):
        gone: Object = lent.get(field) or {}
        there: Object = meta.get(field) or {}
        meta[field] = {name: there[name] for name in there if name not in gone}
    return {**template, "metadata": meta}


def _parsed(text: str) -> Object:
    try:
        parsed: Object = json.loads(text or "{}")
    except ValueError:
        return {}
    return parsed
