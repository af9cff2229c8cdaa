"""The custom resources of Argo Rollouts, Argo CD, KEDA and OpenFeature, reduced to what is used."""

from __future__ import annotations

from tests.cluster.client import ApiError, Cluster, Json
from tests.cluster.namespace import OURS

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
PARTS = dict.fromkeys(("spec", "status", "operation"), ANYTHING)
SCHEMA = {"type": "object", "properties": PARTS}
SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.HPAReplicas",
    "labelSelectorPath": ".status.selector",
}


async def register_reduced_crds(cluster: Cluster) -> None:
    """Have all served; several may ask at once, and the real ones stay as they are."""
    await _register(cluster, _crd("argoproj.io", "Rollout", {"status": {}, "scale": SCALE}))
    await _register(cluster, _crd("argoproj.io", "Application", {}))
    await _register(cluster, _crd("keda.sh", "ScaledObject", {"status": {}}))


async def register_feature_flags(cluster: Cluster) -> None:
    """Have FeatureFlag resources served, with the fields that the real ones require."""
    text = {"type": "string"}
    state = {**text, "enum": ["ENABLED", "DISABLED"]}
    flag = {
        "type": "object",
        "required": ["state", "variants", "defaultVariant"],
        "properties": {
            "state": state,
            "variants": ANYTHING,
            "defaultVariant": text,
            "targeting": ANYTHING,
            "metadata": ANYTHING,
        },
    }
    flags = {"type": "object", "additionalProperties": flag}
    inside = {"flags": flags, "$evaluators": ANYTHING, "metadata": ANYTHING}
    spec = {"type": "object", "properties": {"flagSpec": {"type": "object", "properties": inside}}}
    crd = _crd("core.openfeature.dev", "FeatureFlag", {"status": {}})
    [version] = crd["spec"]["versions"]
    version["name"] = "v1beta1"
    properties = {"spec": spec, "status": ANYTHING}
    version["schema"] = {"openAPIV3Schema": {"type": "object", "properties": properties}}
    await _register(cluster, crd)


async def _register(cluster: Cluster, crd: Json) -> None:
    name, spec = crd["metadata"]["name"], crd["spec"]
    if await cluster.find(f"{CRDS}/{name}") is None:
        try:
            await cluster.create(CRDS, crd)
        except ApiError as error:
            if error.status != 409:  # another worker was faster
                raise
    await cluster.until(f"{CRDS}/{name}", _is_established)
    version = spec["versions"][0]["name"]
    served = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
    await cluster.until(served, lambda listed: "items" in listed)


def _crd(group: str, kind: str, subresources: Json) -> Json:
    singular = kind.lower()
    version = {
        "name": "v1alpha1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": subresources,
    }
    names = {"kind": kind, "listKind": f"{kind}List", "plural": f"{singular}s"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{singular}s.{group}", "labels": OURS},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {**names, "singular": singular},
            "versions": [version],
        },
    }


def _is_established(crd: Json) -> bool:
    conditions = crd.get("status", {}).get("conditions") or []  # null in the first moment
    return {"Established": "True"}.items() <= {c["type"]: c["status"] for c in conditions}.items()
