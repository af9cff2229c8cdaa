"""What scale, rollback and restart share: the words for objects of a Kubernetes cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

Object = Mapping[str, Any]
"""An object as the API server sent it. Fields newer than any model of ours survive in it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object, and where the API server has it."""

    name: str
    group: str
    version: str
    plural: str

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def resource(self) -> str:
        """As RBAC and kubectl call it: `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str) -> str:
        """The URL path of all objects of this kind in a namespace."""
        root = "apis" if self.group else "api"
        return f"/{root}/{self.api_version}/namespaces/{quote(namespace, safe='')}/{self.plural}"


DEPLOYMENT = Kind("Deployment", "apps", "v1", "deployments")
STATEFUL_SET = Kind("StatefulSet", "apps", "v1", "statefulsets")
DAEMON_SET = Kind("DaemonSet", "apps", "v1", "daemonsets")
REPLICA_SET = Kind("ReplicaSet", "apps", "v1", "replicasets")
CONTROLLER_REVISION = Kind("ControllerRevision", "apps", "v1", "controllerrevisions")
ROLLOUT = Kind("Rollout", "argoproj.io", "v1alpha1", "rollouts")
HPA = Kind("HorizontalPodAutoscaler", "autoscaling", "v1", "horizontalpodautoscalers")
SCALED_OBJECT = Kind("ScaledObject", "keda.sh", "v1alpha1", "scaledobjects")
POD = Kind("Pod", "", "v1", "pods")
EVENT = Kind("Event", "", "v1", "events")


@dataclass(frozen=True, slots=True)
class Ref:
    """Which object."""

    kind: Kind
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind.name} {self.name} in {self.namespace}"

    @property
    def path(self) -> str:
        return f"{self.kind.path(self.namespace)}/{quote(self.name, safe='')}"

    @property
    def target(self) -> str:
        """Its name among the targets of all plans."""
        return f"{self.kind.resource}/{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Workload:
    """A workload, and how it was when it was looked at."""

    ref: Ref
    live: Object


def meta_of(found: Object) -> Object:
    """The metadata of an object."""
    return found.get("metadata") or {}


def spec_of(found: Object) -> Object:
    """What is ordered."""
    return found.get("spec") or {}


def status_of(found: Object) -> Object:
    """What is."""
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


def is_controlled_by(found: Object, owner: Object) -> bool:
    """Whether the owner's controller made the object, and not only its labels match."""
    return any(
        reference.get("controller") and reference.get("uid") == uid_of(owner)
        for reference in meta_of(found).get("ownerReferences") or ()
    )


def is_ready(pod: Object) -> bool:
    """Whether a pod serves."""
    conditions = status_of(pod).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
