"""The settings of scale, rollback and restart: the cluster, the target, the limits."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self, TypeGuard, get_args

from pydantic import AliasChoices, Field, field_validator, model_validator

from keptn_remedy import ActionSettings

Owner = Literal["argocd", "flux", "controller", "helm"]
Policy = Literal["refuse", "warn", "proceed"]

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_KNOWN = re.compile(r"project|stage|service|labels\[[^\[\]]+\]")
# Refuse where the owner reverts a change within minutes; Helm does at its next upgrade only.
_DEFAULT_POLICY: Mapping[str, Policy] = {
    "argocd": "refuse",
    "flux": "refuse",
    "controller": "refuse",
    "helm": "warn",
}
_SETTLE_SECONDS = 5.0
# A HorizontalPodAutoscaler decides every 15 s, Argo CD reverts after 5 s.
_CONTESTED_SETTLE_SECONDS = 20.0


class KubernetesSettings(ActionSettings):
    """The cluster, how its workloads are found, and the limits of what is done to them."""

    kubeconfig: str | None = Field(default=None, validation_alias=AliasChoices("kubeconfig"))
    """A kubeconfig file. By default the cluster in which this pod runs."""
    service_host: str = ""
    """Set by Kubernetes in every pod."""
    service_port: str = ""
    """Set by Kubernetes in every pod."""
    namespace_template: str = "{project}-{stage}"
    """The workload's namespace, of {project}, {stage}, {service} and {labels[x]} of the trigger."""
    workload_template: str = "{service}"
    """The workload's name. For Keptn's blue-green deployments: {service}-primary."""
    max_replicas: int = Field(default=50, ge=1)
    """The most replicas that `scale` sets."""
    allow_zero: bool = False
    """Whether `scale` may scale to 0 replicas."""
    owner_policy: str = ""
    """What a rollback does where an owner would revert it: `refuse`, `warn` or `proceed`, or pairs
    that change the default, `argocd=refuse,flux=refuse,controller=refuse,helm=warn`."""
    release_fields: bool = False
    """Whether `scale` and `rollback` leave a field's `managedFields` at once, not when undone. Then
    the next server-side apply of its owner reverts the change, instead of a conflict with us."""
    settle_seconds: float | None = Field(default=None, ge=0, le=240)
    """Seconds that the effect must hold. Default: 5, or 20 under an autoscaler, Argo CD, Flux or
    another controller."""

    @field_validator("namespace_template", "workload_template")
    @classmethod
    def _known_placeholders(cls, template: str) -> str:
        return checked_template(template)

    @field_validator("owner_policy")
    @classmethod
    def _known_owners(cls, text: str) -> str:
        _policies(text)
        return text

    @field_validator("kubeconfig")
    @classmethod
    def _is_there(cls, paths: str | None) -> str | None:
        """Like kubectl: several files may be named, and one of them must exist."""
        files = [Path(path) for path in (paths or "").split(os.pathsep) if path]
        if files and not any(file.is_file() for file in files):
            raise ValueError(f"{paths} does not exist")
        return paths or None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.kubeconfig and not (self.service_host and self.service_port):
            raise ValueError("there is no cluster: this is not a pod, and KUBECONFIG is not set")
        return self

    def policy(self, owner: Owner) -> Policy:
        """What a rollback does to a workload of this owner."""
        return _policies(self.owner_policy)[owner]

    def settle(self, *, contested: bool) -> float:
        """Seconds that an effect must hold; more where another controller may change it."""
        if self.settle_seconds is not None:
            return self.settle_seconds
        return _CONTESTED_SETTLE_SECONDS if contested else _SETTLE_SECONDS


def checked_template(template: str) -> str:
    """The template itself.

    Raises:
        ValueError: it has an unknown placeholder.
    """
    if unknown := [p for p in PLACEHOLDER.findall(template) if not _KNOWN.fullmatch(p)]:
        known = "{project}, {stage}, {service} and {labels[x]}"
        raise ValueError(f"there is no {{{unknown[0]}}}; there are {known}")
    return template


def _policies(text: str) -> dict[str, Policy]:
    if _is_policy(word := text.strip()):
        return dict.fromkeys(_DEFAULT_POLICY, word)
    policies = dict(_DEFAULT_POLICY)
    for pair in filter(None, (part.strip() for part in text.split(","))):
        owner, _, policy = (part.strip() for part in pair.partition("="))
        if owner not in policies or not _is_policy(policy):
            owners = ", ".join(policies)
            raise ValueError(f"write pairs such as helm=refuse; owners are {owners}")
        policies[owner] = policy
    return policies


def _is_policy(word: str) -> TypeGuard[Policy]:
    return word in get_args(Policy)
