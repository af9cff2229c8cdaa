"""The settings that scale, rollback and restart share: which cluster, which target, what limits."""

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
# Who reverts within minutes, and who only is surprised at the next upgrade.
_DEFAULT_POLICY: Mapping[str, Policy] = {
    "argocd": "refuse",
    "flux": "refuse",
    "controller": "refuse",
    "helm": "warn",
}
_SETTLE_SECONDS = 5.0
# A HorizontalPodAutoscaler looks every 15 s, Argo CD heals after 5 s.
_CONTESTED_SETTLE_SECONDS = 20.0


class KubernetesSettings(ActionSettings):
    """The cluster, where its workloads are, and what must not be done to them."""

    kubeconfig: str | None = Field(default=None, validation_alias=AliasChoices("kubeconfig"))
    """A kubeconfig file; without it, the cluster whose pod this is."""
    service_host: str = ""
    """Set by Kubernetes in every pod."""
    service_port: str = ""
    """Set by Kubernetes in every pod."""
    namespace_template: str = "{project}-{stage}"
    """Namespace of a trigger's workload; knows {project}, {stage}, {service} and {labels[x]}."""
    workload_template: str = "{service}"
    """Name of a trigger's workload; Keptn's blue-green deployments want {service}-primary."""
    max_replicas: int = Field(default=50, ge=1)
    """Never more replicas than this."""
    allow_zero: bool = False
    """Whether `scale` may go to 0 replicas."""
    owner_policy: str = ""
    """What a rollback does where an owner would revert it: `refuse`, `warn` or `proceed`, or pairs
    over the default, which is `argocd=refuse,flux=refuse,controller=refuse,helm=warn`."""
    settle_seconds: float | None = Field(default=None, ge=0, le=240)
    """Seconds that the effect must hold. Default: 5; under an autoscaler, Argo CD, Flux or
    another controller 20."""

    @field_validator("namespace_template", "workload_template")
    @classmethod
    def _known_placeholders(cls, template: str) -> str:
        if unknown := [p for p in PLACEHOLDER.findall(template) if not _KNOWN.fullmatch(p)]:
            known = "{project}, {stage}, {service} and {labels[x]}"
            raise ValueError(f"there is no {{{unknown[0]}}}; there are {known}")
        return template

    @field_validator("owner_policy")
    @classmethod
    def _known_owners(cls, text: str) -> str:
        _policies(text)
        return text

    @field_validator("kubeconfig")
    @classmethod
    def _is_there(cls, paths: str | None) -> str | None:
        """As kubectl takes it: several files may be named, and not all need to exist."""
        files = [Path(path) for path in (paths or "").split(os.pathsep) if path]
        if files and not any(file.is_file() for file in files):
            raise ValueError(f"{paths} does not exist")
        return paths or None

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if not self.kubeconfig and not (self.service_host and self.service_port):
            raise ValueError("there is no cluster: this is no pod, and KUBECONFIG is not set")
        return self

    def policy(self, owner: Owner) -> Policy:
        """What to do about a workload of this owner."""
        return _policies(self.owner_policy)[owner]

    def settle(self, *, contested: bool) -> float:
        """Seconds that an effect must hold; more where another controller has a will of its own."""
        if self.settle_seconds is not None:
            return self.settle_seconds
        return _CONTESTED_SETTLE_SECONDS if contested else _SETTLE_SECONDS


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
