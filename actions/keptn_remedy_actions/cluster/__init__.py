"""What scale, rollback and restart share: the objects of a Kubernetes cluster, as values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Object = Mapping[str, Any]
"""An object as the API server sent it, with the fields that we don't know."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object, and its place in the API."""

    name: str
    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """The name in RBAC and kubectl: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str) -> str:
        """The URL path of all objects of this kind in a namespace; without one, in the cluster."""
        root = "apis" if self.group else "api"
        within = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
        return f"/{root}/{self.api_version}{within}/{self.plural}"


DEPLOYMENT = Kind("Deployment", "apps", "v1", "deployments")
STATEFUL_SET = Kind("StatefulSet", "apps", "v1", "statefulsets")
DAEMON_SET = Kind("DaemonSet", "apps", "v1", "daemonsets")
REPLICA_SET = Kind("ReplicaSet", "apps", "v1", "replicasets")
CONTROLLER_REVISION = Kind("ControllerRevision", "apps", "v1", "controllerrevisions")
ROLLOUT = Kind("Rollout", "argoproj.io", "v1alpha1", "rollouts")
HPA = Kind("HorizontalPodAutoscaler", "autoscaling", "v2", "horizontalpodautoscalers")
# Kubernetes before 1.23. It can't hold every metric of v2, and then refuses any write.
OLD_HPA = Kind("HorizontalPodAutoscaler", "autoscaling", "v1", "horizontalpodautoscalers")
SCALED_OBJECT = Kind("ScaledObject", "keda.sh", "v1alpha1", "scaledobjects")
POD = Kind("Pod", "", "v1", "pods")
NODE = Kind("Node", "", "v1", "nodes")
EVENT = Kind("Event", "", "v1", "events")


@dataclass(frozen=True, slots=True)
class Ref:
    """The kind, namespace and name of an object; a node has no namespace."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.name} {self.name}" + (f" in {self.namespace}" if self.namespace else "")

    @property
    def path(self) -> str:
        return f"{self.kind.path(self.namespace)}/{quote(self.name, safe='')}"

    @property
    def target(self) -> str:
        """Its name as a target: `deployments.apps/shop/carts`."""
        return "/".join(filter(None, (self.kind.resource, self.namespace, self.name)))


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload as it was read."""

    ref: Ref
    live: Object


def meta_of(found: Object) -> Object:
    return found.get("metadata") or {}


def spec_of(found: Object) -> Object:
    """The desired state of an object."""
    return found.get("spec") or {}


def status_of(found: Object) -> Object:
    """The observed state of an object."""
    return found.get("status") or {}


def annotations_of(found: Object) -> Mapping[str, str]:
    return meta_of(found).get("annotations") or {}


def labels_of(found: Object) -> Mapping[str, str]:
    return meta_of(found).get("labels") or {}


def name_of(found: Object) -> str:
    name: str = meta_of(found)["name"]
    return name


def uid_of(found: Object) -> str:
    uid: str = meta_of(found)["uid"]
    return uid


def version_of(found: Object) -> str:
    """Its `resourceVersion`, which each change replaces."""
    version: str = meta_of(found).get("resourceVersion", "")
    return version


def condition_of(found: Object, name: str) -> Object:
    """The condition of this type; an empty one if the object doesn't have it."""
    conditions: Sequence[Object] = status_of(found).get("conditions") or ()
    of_type = [each for each in conditions if each.get("type") == name]
    return of_type[0] if of_type else {}


def is_controlled_by(found: Object, owner: Object) -> bool:
    """Whether the owner controls the object; matching labels are not enough."""
    return any(
        reference.get("controller") and reference.get("uid") == uid_of(owner)
        for reference in meta_of(found).get("ownerReferences") or ()
    )


def is_ready(pod: Object) -> bool:
    """Whether a pod is ready."""
    conditions = status_of(pod).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def counted(number: int, what: str) -> str:
    """A number and its noun, with an `s` unless it is one."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def are(number: int) -> str:
    """The verb after as many."""
    return "is" if number == 1 else "are"
