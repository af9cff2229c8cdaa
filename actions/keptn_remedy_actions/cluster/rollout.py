"""Whether a workload is rolled out, decided as `kubectl rollout status` does."""

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
    are,
    argo,
    counted,
    meta_of,
    spec_of,
    status_of,
)

State = Literal["complete", "waiting", "stuck"]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a rollout is; `why` says what is missing."""

    state: State
    why: str = ""

    def because(self, *reasons: str) -> str:
        """What is missing and why; left out where the reasons say it, too."""
        given = "; ".join(filter(None, reasons))
        return given if self.why in given else "; ".join(filter(None, (self.why, given)))


COMPLETE = Progress("complete")
RESTARTED_WHEN_AVAILABLE = (
    "its controller restarts pods only while all of its ReplicaSets are available"
)
_NOT_OBSERVED = Progress("waiting", "its controller has not seen the change yet")


def progress(
    workload: Workload, *, holder: Object | None = None, replica_set: str = ""
) -> Progress:
    """How far a workload is. `holder` has its template, if it has none itself.

    With `replica_set`, only that ReplicaSet's exceeded deadline counts.
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
    """How far an aborted update is: it ends when the stable ReplicaSet has all pods again.

    The phase is Degraded by then, and stays so.
    """
    if not argo.is_observed(rollout, holder):
        return _NOT_OBSERVED
    if not argo.has_aborted(rollout):
        return _waiting("its controller has not aborted the update yet")
    return availability(rollout, stable)


def availability(rollout: Object, pods: Object) -> Progress:
    """Whether `pods`, a Rollout or one of its ReplicaSets, has all pods that the Rollout wants."""
    ordered, available = _ordered(rollout), _count(pods, "availableReplicas")
    if available < ordered:
        return _waiting(_share(available, ordered, "are available"))
    return COMPLETE


def is_observed(live: Object) -> bool:
    """Whether the status is about the current spec."""
    observed: int = status_of(live).get("observedGeneration", 0)
    generation: int = meta_of(live).get("generation", 0)
    return observed >= generation


def is_empty(workload: Workload) -> bool:
    """Whether no pods are desired, so that no template can be seen at work."""
    if workload.ref.kind == DAEMON_SET:
        return not status_of(workload.live).get("desiredNumberScheduled")
    return _ordered(workload.live) == 0


def check_follows_its_template(workload: Workload, effect: str) -> None:
    """Refuse a workload whose pods don't follow its template; `effect` is what a pause prevents.

    Raises:
        Denied: it is paused, or waits until somebody deletes its pods.
    """
    ref, live = workload.ref, workload.live
    if ref.kind in (DEPLOYMENT, ROLLOUT) and spec_of(live).get("paused"):
        raise Denied(f"{ref} is paused, so {effect}; resume it first")
    if ref.kind in (STATEFUL_SET, DAEMON_SET) and _strategy(live).get("type") == "OnDelete":
        raise Denied(
            f"{ref} has updateStrategy OnDelete: it replaces a pod only after somebody deletes it;"
            " set RollingUpdate"
        )
    if ref.kind == STATEFUL_SET and _ordered(live) and not _due(live):
        raise Denied(f"{ref} has partition {_partition(live)}, above all its pods, so {effect}")


def partition_notes(workload: Workload) -> tuple[str, ...]:
    """A note where a partition keeps some pods as they are."""
    live = workload.live
    if workload.ref.kind != STATEFUL_SET or not _partition(live):
        return ()
    pods = _share(_due(live), _ordered(live), "are replaced")
    return (f"{workload.ref} has partition {_partition(live)}: {pods}",)


def takes_pods_down(workload: Workload) -> bool:
    """Whether its update strategy takes old pods down before new ones are ready."""
    if workload.ref.kind != DEPLOYMENT:
        return workload.ref.kind != ROLLOUT  # whose controller restarts pods by eviction
    strategy: Object = spec_of(workload.live).get("strategy") or {}
    rolling: Object = strategy.get("rollingUpdate") or {}
    most = str(rolling.get("maxUnavailable", "25%"))
    share = int(most.rstrip("%")) * (_ordered(workload.live) if most.endswith("%") else 100)
    return strategy.get("type") == "Recreate" or share >= 100


def restart_notes(workload: Workload) -> tuple[str, ...]:
    """A note where the controller of a Rollout doesn't restart it yet."""
    ref, live = workload.ref, workload.live
    available, ordered = available_of(workload), _ordered(live)
    if ref.kind != ROLLOUT or not argo.is_observed(live, live) or available >= ordered:
        return ()
    return (f"{RESTARTED_WHEN_AVAILABLE}: {_share(available, ordered, 'are')}",)


def available_of(workload: Workload) -> int:
    """How many of its pods are available, or ready in a StatefulSet."""
    names = {DAEMON_SET: "numberAvailable", STATEFUL_SET: "readyReplicas"}
    return _count(workload.live, names.get(workload.ref.kind, "availableReplicas"))


def ordered_of(workload: Workload) -> int:
    """How many pods it is to have."""
    if workload.ref.kind == DAEMON_SET:
        return _count(workload.live, "desiredNumberScheduled")
    return _ordered(workload.live)


def as_before(workload: Workload, before: int | None, why: str) -> str:
    """In words, that all pods have the template and that not fewer of them are available than
    before, when some were missing as well; else empty. `why` they are missing is added.
    """
    available, ordered = available_of(workload), ordered_of(workload)
    if before is None or before >= ordered or available < max(before, 1):
        return ""
    if not _are_all_updated(workload):
        return ""
    said = f"{available} of {ordered} available, {before} were before"
    return ": ".join(filter(None, (said, why)))


def _are_all_updated(workload: Workload) -> bool:
    """Whether all pods that are there have the template, as far as its partition allows."""
    live, kind = workload.live, workload.ref.kind
    if kind == ROLLOUT:
        is_settled = argo.is_observed(live, live) and not argo.is_updating(live)
        return (
            is_settled
            and not (argo.is_held(live) or argo.is_aborted(live))
            and _count(live, "updatedReplicas") >= _count(live, "replicas")
        )
    if not is_observed(live):
        return False
    if kind == DAEMON_SET:
        return _count(live, "updatedNumberScheduled") >= _count(live, "currentNumberScheduled")
    there = _count(live, "replicas")
    if kind == STATEFUL_SET:
        return _updated(live) >= min(_due(live), there)
    return _count(live, "updatedReplicas") >= there


def _of_deployment(live: Object, replica_set: str) -> Progress:
    ordered, updated = _ordered(live), _count(live, "updatedReplicas")
    if exceeded := _exceeded(live, replica_set):
        return Progress("stuck", exceeded)
    if updated < ordered:
        return _waiting(_share(updated, ordered, "have its template"))
    if old := max(_count(live, "replicas") - updated, 0):
        return _waiting(f"{counted(old, 'pod')} with another template {are(old)} still there")
    if (available := _count(live, "availableReplicas")) < updated:
        return _waiting(_share(available, updated, "are available"))
    return COMPLETE


def _exceeded(live: Object, replica_set: str) -> str:
    """The controller's message about an exceeded progressDeadlineSeconds; empty if it is not.

    After a rollback the old condition stays until there is progress; its message names the
    ReplicaSet that it is about (`SetDeploymentCondition` keeps the message of an equal reason).
    """
    for condition in status_of(live).get("conditions") or ():
        message: str = condition.get("message", "")
        about_ours = not message.startswith("ReplicaSet ") or f'"{replica_set}"' in message
        if condition.get("reason") == "ProgressDeadlineExceeded" and (
            about_ours or not replica_set
        ):
            return message or "its progress deadline is exceeded"
    return ""


def _of_daemon_set(live: Object) -> Progress:
    desired = _count(live, "desiredNumberScheduled")
    if (updated := _count(live, "updatedNumberScheduled")) < desired:
        return _waiting(_share(updated, desired, "have its template"))
    if (available := _count(live, "numberAvailable")) < desired:
        return _waiting(_share(available, desired, "are available"))
    return COMPLETE


def _of_stateful_set(live: Object) -> Progress:
    ordered, status = _ordered(live), status_of(live)
    if (ready := _count(live, "readyReplicas")) < ordered:
        return _waiting(_share(ready, ordered, "are ready"))
    rolling: Object = _strategy(live).get("rollingUpdate") or {}
    if "partition" in rolling:
        due = _due(live)
        if (updated := _count(live, "updatedReplicas")) < due:
            return _waiting(_share(updated, due, "have its template"))
        return COMPLETE
    is_one = status.get("updateRevision") == status.get("currentRevision")
    if not is_one or _updated(live) < ordered:
        return _waiting(_share(_updated(live), ordered, "have its template"))
    return COMPLETE


def _updated(live: Object) -> int:
    """How many pods of a StatefulSet have its template."""
    status = status_of(live)
    updated = _count(live, "updatedReplicas")
    # When an update is reversed, both revisions are the same from the start and show nothing.
    is_one = status.get("updateRevision") == status.get("currentRevision")
    return max(updated, _count(live, "currentReplicas")) if is_one else updated


def _partition(live: Object) -> int:
    rolling: Object = _strategy(live).get("rollingUpdate") or {}
    return int(rolling.get("partition") or 0)


def _due(live: Object) -> int:
    """How many pods of a StatefulSet follow its template: those above its partition."""
    return max(_ordered(live) - _partition(live), 0)


def _of_rollout(live: Object, holder: Object) -> Progress:
    """How far a Rollout is, by the phase in its status (Argo Rollouts 1.0 and newer)."""
    if not argo.is_observed(live, holder):
        return _NOT_OBSERVED
    status = status_of(live)
    phase, message = status.get("phase", "Progressing"), status.get("message", "")
    if phase == "Healthy":
        return COMPLETE
    if argo.is_held(live):
        message = "; ".join(filter(None, (message, "promote it, or set rollbackWindow")))
    state: State = "stuck" if phase == "Degraded" or argo.is_held(live) else "waiting"
    return Progress(state, f"{phase}: {message}" if message else phase)


def _share(some: int, of: int, predicate: str) -> str:
    """`1 of 3 pods are ready`, and `0 of 1 pod is ready`."""
    if of == 1:
        predicate = predicate.replace("are ", "is ").replace("have ", "has ")
    return f"{some} of {counted(of, 'pod')} {predicate}"


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
