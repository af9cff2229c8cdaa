"""What keeps an object from acting on a change, by what the cluster says before it is made."""

from __future__ import annotations

from keptn_remedy import Denied
from keptn_remedy_actions.cluster import (
    EVENT,
    HPA,
    ROLLOUT,
    SCALED_OBJECT,
    Object,
    Ref,
    condition_of,
    meta_of,
    status_of,
)
from keptn_remedy_actions.cluster.answers import LONGEST, is_denial, shortened
from keptn_remedy_actions.cluster.api import FAILURES, ClusterApi, Forbidden

# The conditions with which a kind of object says that it can't act: the type, and its status then.
_INABILITIES = {
    HPA.resource: ("AbleToScale", "False"),
    SCALED_OBJECT.resource: ("Ready", "False"),
    ROLLOUT.resource: ("InvalidSpec", "True"),
}


def check_stays(ref: Ref, live: Object) -> None:
    """Refuse an object on its way out.

    Raises:
        Denied: it is being deleted.
    """
    if since := meta_of(live).get("deletionTimestamp"):
        raise Denied(f"{ref} is being deleted, since {since}")


async def check_namespace_stays(api: ClusterApi, namespace: str) -> None:
    """Refuse a namespace on its way out, which takes no new object.

    The dry run of an Event shows it, as a role of one namespace can't read the namespace itself.

    Raises:
        Denied: it is being deleted.
    """
    probe = {
        "metadata": {"generateName": "keptn-remedy-", "namespace": namespace},
        "involvedObject": {"namespace": namespace},
    }
    try:
        await api.create(EVENT, namespace, probe, dry_run=True)
    except Forbidden as error:
        if "being terminated" in str(error):
            raise Denied(f"namespace {namespace} is being deleted") from None
    except FAILURES:
        return  # what matters fails again where it is needed


def check_can_act(ref: Ref, live: Object) -> None:
    """Refuse an object that says that it can't act.

    Raises:
        Denied: its conditions say so; quotes why.
    """
    name, status = _INABILITIES.get(ref.kind.resource, ("", ""))
    condition = condition_of(live, name)
    if not name or condition.get("status") != status:
        return
    why = condition.get("message") or condition.get("reason") or f"{name} is {status}"
    raise Denied(f"{ref} says that it can't act: {shortened(why, LONGEST)}")


def check_makes_pods(ref: Ref, live: Object) -> None:
    """Refuse more pods of a workload whose pods are refused.

    A template that is refused in the middle of an update doesn't count: there would be more pods of
    the old one.

    Raises:
        Denied: its controller can't create pods; quotes why.
    """
    failure, status = condition_of(live, "ReplicaFailure"), status_of(live)
    why = str(failure.get("message"))
    is_refused = failure.get("status") == "True" and is_denial(failure)
    is_updating = status.get("updatedReplicas", 0) < status.get("replicas", 0)
    if is_refused and ("exceeded quota" in why or not is_updating):
        raise Denied(f"{ref} can't get more pods: {shortened(why, LONGEST)}")
