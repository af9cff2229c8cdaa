"""One test's namespace: the objects it makes, and the workloads among them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from uuid import uuid4

from tests.cluster.client import Cluster, Json
from tests.cluster.workload import Workload

IMAGES = tuple(os.environ.get("CLUSTER_IMAGES", "pause:3.8 pause:3.9 pause:3.10").split())
BROKEN_IMAGE = "broken:no-such-image"  # the stand-in kubelet goes by the name, others can't pull it
OURS = {"app.kubernetes.io/managed-by": "keptn-remedy-tests"}

APPS = "apis/apps/v1"
KINDS = {  # resource: where the API has it, and its kind
    "pods": ("api/v1", "Pod"),
    "events": ("api/v1", "Event"),
    "serviceaccounts": ("api/v1", "ServiceAccount"),
    "resourcequotas": ("api/v1", "ResourceQuota"),
    "deployments": (APPS, "Deployment"),
    "replicasets": (APPS, "ReplicaSet"),
    "statefulsets": (APPS, "StatefulSet"),
    "daemonsets": (APPS, "DaemonSet"),
    "controllerrevisions": (APPS, "ControllerRevision"),
    "horizontalpodautoscalers": ("apis/autoscaling/v1", "HorizontalPodAutoscaler"),
    "roles": ("apis/rbac.authorization.k8s.io/v1", "Role"),
    "rolebindings": ("apis/rbac.authorization.k8s.io/v1", "RoleBinding"),
    "localsubjectaccessreviews": ("apis/authorization.k8s.io/v1", "LocalSubjectAccessReview"),
    "rollouts": ("apis/argoproj.io/v1alpha1", "Rollout"),
    "applications": ("apis/argoproj.io/v1alpha1", "Application"),
    "scaledobjects": ("apis/keda.sh/v1alpha1", "ScaledObject"),
}


class Namespace:
    """A namespace with a name of its own; resources are named in the plural, `deployments`."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self.cluster = cluster
        self.name = name

    @classmethod
    async def made(cls, cluster: Cluster) -> Namespace:
        """A new one that takes pods at once."""
        name = f"remedy-{uuid4().hex[:12]}"
        await cluster.create("/api/v1/namespaces", {"metadata": {"name": name, "labels": OURS}})
        namespace = cls(cluster, name)
        await namespace.until("serviceaccounts", "default", bool)
        return namespace

    async def leave(self) -> None:
        """Have it deleted, without waiting."""
        await self.cluster.delete(f"/api/v1/namespaces/{self.name}")

    # Any object

    def kind(self, resource: str) -> tuple[str, str]:
        """Its `apiVersion` and `kind`."""
        where, kind = KINDS[resource]
        return where.removeprefix("apis/").removeprefix("api/"), kind

    def path(self, resource: str, name: str = "", subresource: str = "") -> str:
        base = f"/{KINDS[resource][0]}/namespaces/{self.name}/{resource}"
        return "/".join(part for part in (base, name, subresource) if part)

    async def create(self, resource: str, name: str, **fields: Any) -> Json:
        """Create an object from its fields beside `metadata.name`, such as `spec`."""
        version, kind = self.kind(resource)
        metadata = {"name": name, "namespace": self.name, **fields.pop("metadata", {})}
        body = {"apiVersion": version, "kind": kind, "metadata": metadata, **fields}
        return await self.cluster.create(self.path(resource), body)

    async def get(self, resource: str, name: str, subresource: str = "") -> Json:
        return await self.cluster.get(self.path(resource, name, subresource))

    async def items(self, resource: str, **query: str) -> list[Json]:
        return await self.cluster.items(self.path(resource), **query)

    async def patch(
        self, resource: str, name: str, body: Json | list[Json], subresource: str = ""
    ) -> Json:
        return await self.cluster.patch(self.path(resource, name, subresource), body)

    async def delete(self, resource: str, name: str) -> Json:
        return await self.cluster.delete(self.path(resource, name))

    async def until(
        self,
        resource: str,
        name: str,
        condition: Callable[[Json], bool],
        *,
        within_seconds: float = 30,
    ) -> Json:
        """The object once the condition holds of it; `{}` stands for no object."""
        return await self.cluster.until(
            self.path(resource, name), condition, within_seconds=within_seconds
        )

    async def events(self, name: str, **query: str) -> list[Json]:
        """The Kubernetes Events on objects of this name."""
        return await self.items("events", fieldSelector=f"involvedObject.name={name}", **query)

    # Workloads

    async def deployment(
        self, name: str = "carts", *, image: str = IMAGES[0], ready: bool = True, **spec: Any
    ) -> Workload:
        """With one replica, or as its `spec` says; rolled out already, if not `ready=False`."""
        return await self._workload("deployments", name, image, ready, {"replicas": 1, **spec})

    async def stateful_set(
        self, name: str = "carts", *, image: str = IMAGES[0], ready: bool = True, **spec: Any
    ) -> Workload:
        spec = {"replicas": 1, "serviceName": name, **spec}
        return await self._workload("statefulsets", name, image, ready, spec)

    async def daemon_set(
        self, name: str = "carts", *, image: str = IMAGES[0], ready: bool = True, **spec: Any
    ) -> Workload:
        return await self._workload("daemonsets", name, image, ready, spec)

    async def rollout(
        self, name: str = "carts", *, image: str = IMAGES[0], **spec: Any
    ) -> Workload:
        """An Argo Rollout, after `reduced_crds`; it has no controller, tests write its status."""
        spec = {"replicas": 1, **spec}
        return await self._workload("rollouts", name, image, False, spec)

    async def _workload(
        self, resource: str, name: str, image: str, ready: bool, spec: Json
    ) -> Workload:
        labels = {"app": name}
        pod = {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "main", "image": image}],
        }
        template = {"metadata": {"labels": labels}, "spec": pod}
        spec = {"selector": {"matchLabels": labels}, "template": template, **spec}
        await self.create(resource, name, spec=spec)
        workload = Workload(self, resource, name)
        if ready:
            await workload.rolled_out()
        return workload

    # What holds workloads

    async def autoscaler(
        self, workload: Workload, minimum: int, maximum: int, name: str | None = None
    ) -> Json:
        """A HorizontalPodAutoscaler; without metrics it only keeps the replicas within bounds."""
        bounds = {"minReplicas": minimum, "maxReplicas": maximum}
        spec = {
            "scaleTargetRef": workload.reference,
            "targetCPUUtilizationPercentage": 80,
            **bounds,
        }
        return await self.create("horizontalpodautoscalers", name or workload.name, spec=spec)

    async def scaled_object(
        self, workload: Workload, minimum: int, maximum: int, **annotations: str
    ) -> Json:
        """A KEDA ScaledObject, after `reduced_crds`; `annotations` are those of KEDA itself."""
        bounds = {"minReplicaCount": minimum, "maxReplicaCount": maximum}
        named = {f"autoscaling.keda.sh/{key}": value for key, value in annotations.items()}
        return await self.create(
            "scaledobjects",
            workload.name,
            metadata={"annotations": {key.replace("_", "-"): named[key] for key in named}},
            spec={"scaleTargetRef": workload.reference, "triggers": [], **bounds},
        )

    async def quota(self, name: str = "quota", **hard: str) -> Json:
        """A ResourceQuota that is enforced already, such as `quota(pods="2")`."""
        await self.create("resourcequotas", name, spec={"hard": hard})
        return await self.until("resourcequotas", name, lambda it: "used" in it.get("status", {}))
