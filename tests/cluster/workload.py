"""A workload of a test: change it, wait for it, read its state."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.cluster.client import Json
from tests.waiting import until

if TYPE_CHECKING:
    from tests.cluster.namespace import Namespace

ROLLOUT_SECONDS = 60
IMAGE = "/spec/template/spec/containers/0/image"


class Workload:
    """A live object with a pod template; `resource` is its kind in the plural, `deployments`."""

    def __init__(self, namespace: Namespace, resource: str, name: str) -> None:
        self.namespace = namespace
        self.resource = resource
        self.name = name
        self.api_version, self.kind = namespace.kind(resource)

    @property
    def reference(self) -> Json:
        """As the `scaleTargetRef` of an autoscaler names it."""
        return {"apiVersion": self.api_version, "kind": self.kind, "name": self.name}

    async def live(self) -> Json:
        return await self.namespace.get(self.resource, self.name)

    async def until(
        self, condition: Callable[[Json], bool], *, within_seconds: float = ROLLOUT_SECONDS
    ) -> Json:
        """The live object once the condition holds of it."""
        return await self.namespace.until(
            self.resource, self.name, condition, within_seconds=within_seconds
        )

    async def rolled_out(self, *, within_seconds: float = ROLLOUT_SECONDS) -> Json:
        """The live object once all its pods have its template and are ready."""
        return await self.until(is_rolled_out, within_seconds=within_seconds)

    async def observed(self) -> Json:
        """The live object once its controller has recorded its template."""
        return await self.until(is_observed)

    async def has_available(self, *counts: int) -> None:
        """Wait until its revisions, the oldest first, have so many available pods."""

        async def has_them() -> bool:
            statuses = [each["status"] for each in await self.history()]
            return tuple(status.get("availableReplicas", 0) for status in statuses) == counts

        await until(has_them)

    # Changes

    async def patch(self, body: Json | list[Json], subresource: str = "") -> Json:
        return await self.namespace.patch(self.resource, self.name, body, subresource)

    async def set_image(self, image: str) -> Json:
        return await self.patch([{"op": "replace", "path": IMAGE, "value": image}])

    async def update(self, image: str) -> Json:
        """Set the image and wait until it is rolled out."""
        await self.set_image(image)
        return await self.rolled_out()

    async def update_template(self, template: Json) -> Json:
        """Merge this into its pod template and wait until that is rolled out."""
        await self.patch({"spec": {"template": template}})
        return await self.rolled_out()

    async def scale(self, replicas: int) -> Json:
        return await self.patch({"spec": {"replicas": replicas}}, "scale")

    async def set_status(self, status: Json) -> Json:
        """Write the status that a controller would."""
        return await self.patch({"status": status}, "status")

    async def delete(self) -> Json:
        return await self.namespace.delete(self.resource, self.name)

    # What it says

    async def ordered(self) -> int:
        """How many replicas are desired."""
        return int((await self.live())["spec"].get("replicas", 1))

    async def ready(self) -> int:
        """How many replicas are ready."""
        return int((await self.live()).get("status", {}).get("readyReplicas", 0))

    async def image(self) -> str:
        """The image that its template asks for."""
        template = (await self.live())["spec"]["template"]
        return str(template["spec"]["containers"][0]["image"])

    async def pods(self) -> list[Json]:
        return await self.namespace.items("pods", labelSelector=f"app={self.name}")

    async def history(self) -> list[Json]:
        """Its ReplicaSets, or its ControllerRevisions, oldest revision first."""
        if self.resource == "deployments":
            sets = await self.namespace.items("replicasets", labelSelector=f"app={self.name}")
            return sorted(sets, key=revision)
        every = await self.namespace.items("controllerrevisions")
        owner = (await self.live())["metadata"]["uid"]
        return sorted((one for one in every if _owner(one) == owner), key=revision)


def revision(history: Json) -> int:
    """The number of a ReplicaSet or ControllerRevision."""
    if history.get("kind") == "ControllerRevision" or "revision" in history:
        return int(history["revision"])
    return int(history["metadata"]["annotations"]["deployment.kubernetes.io/revision"])


def is_observed(live: Json) -> bool:
    """Whether the status is about the current spec."""
    observed: int = live.get("status", {}).get("observedGeneration", 0)
    return observed >= int(live.get("metadata", {}).get("generation", 1))


def is_rolled_out(live: Json) -> bool:
    """As its controller says, of the template that is live now."""
    if not is_observed(live):
        return False
    status = live["status"]
    if "desiredNumberScheduled" in status:
        return _is_on_every_node(status)
    asked = live["spec"].get("replicas", 1)
    updating = status.get("currentRevision") != status.get("updateRevision")
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    # A StatefulSet stops counting updated replicas when it is through.
    if "updateRevision" in status:
        counts.pop(1)
    else:
        counts.append(status.get("availableReplicas", 0))
    return not updating and all(count == asked for count in counts)


def _is_on_every_node(status: Json) -> bool:
    wanted = status["desiredNumberScheduled"]
    names = ("updatedNumberScheduled", "numberReady", "numberAvailable")
    return wanted > 0 and all(status.get(name, 0) == wanted for name in names)


def _owner(one: Json) -> str:
    owners = one["metadata"].get("ownerReferences") or [{}]
    return str(owners[0].get("uid"))
