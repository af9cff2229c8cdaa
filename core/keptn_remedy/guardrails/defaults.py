"""The limits of replicas without a policy: the actions enforce the same ones."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from keptn_remedy.guardrails.matching import Rules
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.support.variables import FromVariables, SettingsError, build

PREFIX = "KUBERNETES_"


class ReplicaSettings(FromVariables):
    """`KUBERNETES_MAX_REPLICAS` and `KUBERNETES_ALLOW_ZERO`; the actions read the same ones."""

    model_config = SettingsConfigDict(extra="ignore", hide_input_in_errors=True)

    max_replicas: int = Field(default=50, ge=1)
    allow_zero: bool = False

    def rules(
        self, policy: Policy | None, names: Mapping[str, tuple[str, ...]] | None = None
    ) -> Rules:
        """The rules of a policy on top of these limits; `names` as in `Rules`."""
        return Rules(
            policy,
            replicas_at_most=self.max_replicas,
            zero_replicas=self.allow_zero,
            names=names,
        )


def replica_settings(variables: Mapping[str, str]) -> ReplicaSettings:
    """The settings, or the defaults where they are invalid: that turns the actions off anyway."""
    try:
        return build(ReplicaSettings, PREFIX, variables)
    except SettingsError:
        return ReplicaSettings()
