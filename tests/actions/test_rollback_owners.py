"""The owners of a workload, and what KUBERNETES_OWNER_POLICY does about them."""

from typing import Any

import pytest

from keptn_remedy import Denied
from keptn_remedy_actions.cluster import DEPLOYMENT, Ref, Workload
from keptn_remedy_actions.cluster.owners import judge, owners_of
from keptn_remedy_actions.cluster.settings import KubernetesSettings


@pytest.mark.parametrize(
    ("metadata", "owner", "evidence"),
    [
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": "shop:apps"}},
            "argocd",
            "annotation argocd.argoproj.io/tracking-id: shop:apps",
        ),
        (
            {"labels": {"argocd.argoproj.io/instance": "shop"}},
            "argocd",
            "label argocd.argoproj.io/instance: shop",
        ),
        (
            {
                "labels": {"app.kubernetes.io/instance": "shop"},
                "managedFields": [{"manager": "argocd-controller"}],
            },
            "argocd",
            "label app.kubernetes.io/instance: shop, fields managed by argocd-controller",
        ),
        (
            {"labels": {"kustomize.toolkit.fluxcd.io/name": "shop"}},
            "flux",
            "label kustomize.toolkit.fluxcd.io/name: shop",
        ),
        (
            {"labels": {"helm.toolkit.fluxcd.io/name": "shop"}},
            "flux",
            "label helm.toolkit.fluxcd.io/name: shop",
        ),
        (
            {
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {"meta.helm.sh/release-name": "shop"},
            },
            "helm",
            "annotation meta.helm.sh/release-name: shop",
        ),
        (
            {"ownerReferences": [{"kind": "Shop", "name": "main", "controller": True}]},
            "controller",
            "owned by Shop main",
        ),
    ],
)
def test_owners_are_known_by_what_they_leave(metadata: Any, owner: str, evidence: str) -> None:
    [found] = owners_of({"metadata": metadata})
    assert (found.owner, found.evidence) == (owner, evidence)


@pytest.mark.parametrize(
    "metadata",
    [
        {"labels": {"app.kubernetes.io/instance": "shop"}},
        {"labels": {"app.kubernetes.io/managed-by": "Helm"}},
        {"annotations": {"meta.helm.sh/release-name": "shop"}},
        {"ownerReferences": [{"kind": "Shop", "name": "main"}]},
    ],
)
def test_what_many_write_is_no_evidence(metadata: Any) -> None:
    assert owners_of({"metadata": metadata}) == []


def owned(policy: str, **labels: str) -> tuple[str, ...]:
    settings = KubernetesSettings(service_host="api", service_port="443", owner_policy=policy)
    ref = Ref(DEPLOYMENT, "shop", "carts")
    release = {"meta.helm.sh/release-name": "shop"}
    return judge(
        settings, [Workload(ref, {"metadata": {"labels": labels, "annotations": release}})]
    )


def test_by_default_helm_is_told_and_flux_is_asked_for_first() -> None:
    helm = {"app.kubernetes.io/managed-by": "Helm"}
    [note] = owned("", **helm)
    assert "belongs to Helm (annotation meta.helm.sh/release-name: shop)" in note
    with pytest.raises(Denied, match=r"belongs to Flux .* KUBERNETES_OWNER_POLICY to flux=warn"):
        owned("", **helm, **{"helm.toolkit.fluxcd.io/name": "shop"})


def test_a_policy_may_be_bolder() -> None:
    assert owned("proceed", **{"kustomize.toolkit.fluxcd.io/name": "shop"}) == ()
    assert len(owned("flux=warn", **{"kustomize.toolkit.fluxcd.io/name": "shop"})) == 1
