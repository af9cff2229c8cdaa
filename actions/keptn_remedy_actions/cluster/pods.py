"""The pods of a workload that a controller would make anew."""

from __future__ import annotations

from keptn_remedy import PermanentError
from keptn_remedy_actions.cluster import POD, Object, Workload, meta_of
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.trouble import selector


async def pods_of(api: ClusterApi, workload: Workload) -> list[Object]:
    """Those that the workload's selector matches, without those that are being deleted.

    Raises:
        PermanentError: it selects none.
    """
    labels = selector(workload.live)
    if not labels:
        raise PermanentError(f"{workload.ref} selects no pods")
    found = await api.list(POD, workload.ref.namespace, labels=labels)
    return [pod for pod in found if _is_controlled(pod)]


def _is_controlled(pod: Object) -> bool:
    owners = meta_of(pod).get("ownerReferences") or ()
    leaves = meta_of(pod).get("deletionTimestamp")
    return any(each.get("controller") for each in owners) and not leaves
