"""The owners of a workload: they would revert a change of it, or don't know of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from keptn_remedy import Denied
from keptn_remedy_actions.cluster import Object, Workload, annotations_of, labels_of, meta_of
from keptn_remedy_actions.cluster.settings import KubernetesSettings, Owner

_INSTANCE = "app.kubernetes.io/instance"
_ARGOCD_ANNOTATION = "argocd.argoproj.io/tracking-id"
_ARGOCD_LABEL = "argocd.argoproj.io/instance"
_FLUX_LABELS = ("kustomize.toolkit.fluxcd.io/name", "helm.toolkit.fluxcd.io/name")
_HELM_RELEASE = "meta.helm.sh/release-name"
_NAMES: Mapping[Owner, str] = {"argocd": "Argo CD", "flux": "Flux", "helm": "Helm"}
_EFFECTS: Mapping[Owner, str] = {
    "argocd": "which reverts what is not in Git; roll back there",
    "flux": "which reverts what is not in Git; roll back there",
    "helm": "whose next upgrade doesn't know of this; use `helm rollback`",
    "controller": "which reverts what is not in that object; roll back there",
}


@dataclass(frozen=True, slots=True)
class Ownership:
    """An owner, and the label, annotation or reference that names it."""

    owner: Owner
    evidence: str


def owners_of(live: Object) -> list[Ownership]:
    """The owners of the object, found by labels, annotations and references."""
    return [*_argocd(live), *_flux(live), *_helm(live), *_controllers(live)]


def reverts(live: Object) -> bool:
    """Whether an owner would revert a change within minutes."""
    return any(found.owner != "helm" for found in owners_of(live))


def judge(settings: KubernetesSettings, workloads: Sequence[Workload]) -> tuple[str, ...]:
    """Notes about the owners, by KUBERNETES_OWNER_POLICY.

    Raises:
        Denied: the policy for one of the owners is `refuse`.
    """
    notes: dict[str, None] = {}
    for workload in workloads:
        for found in owners_of(workload.live):
            policy = settings.policy(found.owner)
            note = (
                f"{workload.ref} belongs to {_NAMES.get(found.owner, 'another controller')}"
                f" ({found.evidence}), {_EFFECTS[found.owner]}"
            )
            if policy == "refuse":
                raise Denied(f"{note}, or set KUBERNETES_OWNER_POLICY to {found.owner}=warn")
            if policy == "warn":
                notes[note] = None
    return tuple(notes)


def _argocd(live: Object) -> Iterator[Ownership]:
    annotations, labels = annotations_of(live), labels_of(live)
    if tracking := annotations.get(_ARGOCD_ANNOTATION):
        yield Ownership("argocd", f"annotation {_ARGOCD_ANNOTATION}: {tracking}")
    elif instance := labels.get(_ARGOCD_LABEL):
        yield Ownership("argocd", f"label {_ARGOCD_LABEL}: {instance}")
    elif (instance := labels.get(_INSTANCE)) and (manager := _argocd_manager(live)):
        # Others set this label, too; by default it is also Argo CD's own.
        yield Ownership("argocd", f"label {_INSTANCE}: {instance}, fields managed by {manager}")


def _argocd_manager(live: Object) -> str:
    for entry in meta_of(live).get("managedFields") or ():
        manager: str = entry.get("manager", "")
        if manager.startswith("argocd"):
            return manager
    return ""


def _flux(live: Object) -> Iterator[Ownership]:
    for label in _FLUX_LABELS:
        if name := labels_of(live).get(label):
            yield Ownership("flux", f"label {label}: {name}")


def _helm(live: Object) -> Iterator[Ownership]:
    managed_by = labels_of(live).get("app.kubernetes.io/managed-by")
    release = annotations_of(live).get(_HELM_RELEASE)
    if managed_by == "Helm" and release:
        yield Ownership("helm", f"annotation {_HELM_RELEASE}: {release}")


def _controllers(live: Object) -> Iterator[Ownership]:
    for reference in meta_of(live).get("ownerReferences") or ():
        if reference.get("controller"):
            yield Ownership("controller", f"owned by {reference['kind']} {reference['name']}")
