"""Whether a workload has become what is ordered, as `kubectl rollout status` decides it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from keptn_remedy import Denied
from keptn_remedy_actions.cluster import (
    DAEMON_SET,
    DEPLOYMENT,
    ROLLOUT,
    STATEFUL_SET,
    Object,
    Workload,
    argo,
    meta_of,
    spec_of,
    status_of,
)

State = Literal["complete", "waiting", "stuck"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is; `why` says what is missing."""

    state: State
    why: str = ""

    def because(self, *reasons: str) -> str:
        """What is missing, and the reasons of it; they may say it again."""
        told = "; ".join(filter(None, reasons))
        return told if self.why in told else "; ".join(filter(None, (self.why, told)))


COMPLETE = Progress("complete")
_NOT_OBSERVED = Progress("waiting", "its controller has not looked at it yet")


def progress(
    workload: Workload, *, holder: Object | None = None, replica_set: str = ""
) -> Progress:
    """How far a workload is; `holder` has its template, if it has none itself.

    A deadline that was exceeded by another ReplicaSet than the one that is named doesn't count.
    """
    kind, live = workload.ref.kind, workload.live
    if kind == ROLLOUT:
        return _of_rollout(live, holder or live)
    if not is_observed(live):
        return _NOT_OBSERVED
    if kind == DEPLOYMENT:
        return _of_deployment(live, replica_set)
    return _of_daemon_set(live) if kind == DAEMON_SET else _of_stateful_set(live)


def abort_progress(rollout: Object, holder: Object, stable: Object) -> Progress:
    """An aborted update is over once the stable ReplicaSet has all pods again; the phase is
    Degraded by then, and stays so.
    """
    if not argo.is_observed(rollout, holder):
        return _NOT_OBSERVED
    if not argo.has_aborted(rollout):
        return _waiting("its controller has not aborted the update yet")
    return availability(rollout, stable)


def availability(rollout: Object, pods: Object) -> Progress:
    """Whether a Rollout, or one of its ReplicaSets, has all pods that the Rollout is to have."""
    ordered, available = _ordered(rollout), _count(pods, "availableReplicas")
    if available < ordered:
        return _waiting(f"{available} of {ordered} pods are available")
    return COMPLETE


def is_observed(live: Object) -> bool:
    """Whether the status tells of what is ordered now."""
    observed: int = status_of(live).get("observedGeneration", 0)
    generation: int = meta_of(live).get("generation", 0)
    return observed >= generation


def is_empty(workload: Workload) -> bool:
    """Whether no pod is ordered, so that nothing can be seen of any template."""
    if workload.ref.kind == DAEMON_SET:
        return not status_of(workload.live).get("desiredNumberScheduled")
    return _ordered(workload.live) == 0


def check_follows_its_template(workload: Workload, effect: str) -> None:
    """Refuse what would not act on a new template; `effect` says what paused ones lack.

    Raises:
        Denied: it is paused, or waits until somebody deletes its pods.
    """
    ref, live = workload.ref, workload.live
    if ref.kind in (DEPLOYMENT, ROLLOUT) and spec_of(live).get("paused"):
        raise Denied(f"{ref} is paused, so {effect}; resume it first")
    if ref.kind in (STATEFUL_SET, DAEMON_SET) and _strategy(live).get("type") == "OnDelete":
        raise Denied(
            f"{ref} has updateStrategy OnDelete: a new template reaches only pods that somebody"
            " deletes, and nothing says when it is done; set RollingUpdate"
        )


def _of_deployment(live: Object, replica_set: str) -> Progress:
    ordered, updated = _ordered(live), _count(live, "updatedReplicas")
    if told := _exceeded(live, replica_set):
        return Progress("stuck", told)
    if updated < ordered:
        return _waiting(f"{updated} of {ordered} pods have its template")
    if old := max(_count(live, "replicas") - updated, 0):
        return _waiting(f"{old} pods with another template are still there")
    if (available := _count(live, "availableReplicas")) < updated:
        return _waiting(f"{available} of {updated} pods are available")
    return COMPLETE


def _exceeded(live: Object, replica_set: str) -> str:
    """What the controller says of its progressDeadlineSeconds.

    After a rollback the condition stays as it was until there is progress; its message names the
    ReplicaSet it is about (`SetDeploymentCondition` keeps an equal reason's message).
    """
    for condition in status_of(live).get("conditions") or ():
        told: str = condition.get("message", "")
        about_ours = not told.startswith("ReplicaSet ") or f'"{replica_set}"' in told
        if condition.get("reason") == "ProgressDeadlineExceeded" and (
            about_ours or not replica_set
        ):
            return told or "its progress deadline is exceeded"
    return ""


def _of_daemon_set(live: Object) -> Progress:
    desired = _count(live, "desiredNumberScheduled")
    if (updated := _count(live, "updatedNumberScheduled")) < desired:
        return _waiting(f"{updated} of {desired} pods have its template")
    if (available := _count(live, "numberAvailable")) < desired:
        return _waiting(f"{available} of {desired} pods are available")
    return COMPLETE


def _of_stateful_set(live: Object) -> Progress:
    ordered, status = _ordered(live), status_of(live)
    if (ready := _count(live, "readyReplicas")) < ordered:
        return _waiting(f"{ready} of {ordered} pods are ready")
    rolling: Object = _strategy(live).get("rollingUpdate") or {}
    if "partition" in rolling:
        due = max(ordered - rolling["partition"], 0)
        if (updated := _count(live, "updatedReplicas")) < due:
            return _waiting(f"{updated} of {due} pods have its template")
        return COMPLETE
    # In a reversed update both revisions are the same from the start, and say nothing.
    is_one = status.get("updateRevision") == status.get("currentRevision")
    updated = _count(live, "updatedReplicas")
    updated = max(updated, _count(live, "currentReplicas")) if is_one else updated
    if not is_one or updated < ordered:
        return _waiting(f"{updated} of {ordered} pods have its template")
    return COMPLETE


def _of_rollout(live: Object, holder: Object) -> Progress:
    """By the phase that its controller (1.0 and newer) computes."""
    if not argo.is_observed(live, holder):
        return _NOT_OBSERVED
    status = status_of(live)
    phase, told = status.get("phase", "Progressing"), status.get("message", "")
    if phase == "Healthy":
        return COMPLETE
    if argo.is_held(live):
        told = "; ".join(filter(None, (told, "promote it, or set rollbackWindow")))
    state: State = "stuck" if phase == "Degraded" or argo.is_held(live) else "waiting"
    return Progress(state, f"{phase}: {told}" if told else phase)


def _waiting(why: str) -> Progress:
    return Progress("waiting", why)


def _ordered(live: Object) -> int:
    replicas: int | None = spec_of(live).get("replicas")
    return 1 if replicas is None else replicas


def _count(live: Object, field: str) -> int:
    count: int = status_of(live).get(field) or 0
    return count


def _strategy(live: Object) -> Object:
    return spec_of(live).get("updateStrategy") or {}
