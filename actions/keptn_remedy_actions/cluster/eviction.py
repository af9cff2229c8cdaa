"""Pods that are to leave by the Eviction API, and what keeps them from it."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from keptn_remedy import Context
from keptn_remedy_actions.cluster import (
    POD,
    Object,
    Ref,
    counted,
    meta_of,
    name_of,
    status_of,
    uid_of,
)
from keptn_remedy_actions.cluster.action import looks
from keptn_remedy_actions.cluster.api import ClusterApi, NotFound

_MIRROR = "kubernetes.io/config.mirror"


class Leaving(BaseModel):
    """A pod that is to leave."""

    pod: Ref
    uid: str

    @classmethod
    def of(cls, found: Object) -> Leaving:
        pod = Ref(POD, meta_of(found)["namespace"], name_of(found))
        return cls(pod=pod, uid=uid_of(found))


def is_movable(found: Object) -> bool:
    """Whether evicting it moves it: it runs, and neither its node nor a DaemonSet makes it anew."""
    if meta_of(found).get("deletionTimestamp") or status_of(found).get("phase") in (
        "Succeeded",
        "Failed",
    ):
        return False
    is_mirror = _MIRROR in (meta_of(found).get("annotations") or {})
    return not is_mirror and controller_of(found) != "DaemonSet"


def controller_of(found: Object) -> str:
    """The kind of its controller; empty where it has none."""
    owners = meta_of(found).get("ownerReferences") or ()
    return next((str(each["kind"]) for each in owners if each.get("controller")), "")


async def evict_all(api: ClusterApi, pods: Sequence[Leaving]) -> dict[str, str]:
    """Ask once for each pod; why those stay that may not leave now, by their names."""
    kept = {each.pod.name: await api.evict(each.pod, each.uid) for each in pods}
    return {name: why for name, why in kept.items() if why}


async def until_gone(api: ClusterApi, context: Context, pods: Sequence[Leaving]) -> str:
    """Ask again and again until all are gone; what keeps the first of those that are not, if its
    time is over.
    """
    left, kept = list(pods), dict[str, str]()
    async for _ in looks(context):
        left = [each for each in left if await _is_there(api, each)]
        if not left:
            return ""
        kept = await evict_all(api, left)
    first = left[0].pod
    why = kept.get(first.name, "it is being deleted")
    share = f"{len(left)} of {counted(len(pods), 'pod')}"
    return f"{share} {'has' if len(pods) == 1 else 'have'} not left in time: {first}: {why}"


async def _is_there(api: ClusterApi, leaving: Leaving) -> bool:
    try:
        return uid_of(await api.get(leaving.pod)) == leaving.uid
    except NotFound:
        return False
