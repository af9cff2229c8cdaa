"""A real API server accepts the manifests of `deploy/` unchanged."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.client import ApiError, Json
from tests.cluster.namespace import Namespace
from tests.deploy.charts import VALUES, needs_helm, objects

DEPLOY = Path(__file__).parents[2] / "deploy"
WHERE = {
    "ServiceAccount": "api/v1/namespaces/{}/serviceaccounts",
    "PersistentVolumeClaim": "api/v1/namespaces/{}/persistentvolumeclaims",
    "Service": "api/v1/namespaces/{}/services",
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "Secret": "api/v1/namespaces/{}/secrets",
    "Deployment": "apis/apps/v1/namespaces/{}/deployments",
    "NetworkPolicy": "apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "PodDisruptionBudget": "apis/{version}/namespaces/{}/poddisruptionbudgets",
    "Role": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}
OF_OTHERS = {"ServiceMonitor", "PrometheusRule", "ClusterRole", "ClusterRoleBinding"}


def manifest(name: str) -> list[Json]:
    return list(yaml.safe_load_all((DEPLOY / name).read_text("utf-8")))


async def apply(namespace: Namespace, found: Json) -> Json:
    """As `kubectl apply --server-side -n` does; what names another namespace is moved here."""
    found["metadata"].pop("namespace", None)
    if found["apiVersion"] == "policy/v1" and not await namespace.cluster.find("/apis/policy/v1"):
        found["apiVersion"] = "policy/v1beta1"  # the same, before Kubernetes 1.21
    where = WHERE[found["kind"]].format(namespace.name, version=found["apiVersion"])
    path = f"/{where}/{found['metadata']['name']}"
    return await namespace.cluster.apply(path, found)


@pytest.mark.parametrize(
    "names",
    [
        ("service.yaml", "rbac.yaml"),
        ("separate-distributor/service.yaml", "separate-distributor/distributor.yaml"),
    ],
    ids=["sidecar", "separate distributor"],
)
async def test_the_plain_manifests_are_taken_and_their_pods_made(
    namespace: Namespace, names: tuple[str, ...]
) -> None:
    applied = [await apply(namespace, found) for name in names for found in manifest(name)]
    deployments = [found for found in applied if found["kind"] == "Deployment"]
    assert deployments
    for made in deployments:
        await namespace.until(
            "deployments",
            made["metadata"]["name"],
            lambda live: live["status"].get("updatedReplicas") == 1,
        )


def test_what_is_applied_with_a_namespace_names_none_and_the_rest_does() -> None:
    named = [found["metadata"].get("namespace") for found in manifest("service.yaml")]
    assert set(named) == {None}
    assert all(found["metadata"].get("namespace") for found in manifest("rbac.yaml"))


@needs_helm
@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES)
async def test_whatever_the_chart_makes_is_taken(
    namespace: Namespace, values: Mapping[str, Any]
) -> None:
    for found in objects(values):
        if found["kind"] not in OF_OTHERS:
            await apply(namespace, found)


async def test_a_field_that_kubernetes_does_not_know_would_be_refused(namespace: Namespace) -> None:
    [deployment] = [found for found in manifest("service.yaml") if found["kind"] == "Deployment"]
    deployment["spec"]["template"]["spec"]["enableServiceLink"] = False
    with pytest.raises(ApiError, match="field not declared in schema"):
        await apply(namespace, deployment)
