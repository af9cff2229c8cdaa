"""What `run-job` is asked for, and which jobs may run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, field_validator

from keptn_remedy_actions.cluster.settings import KubernetesSettings
from keptn_remedy_actions.jobs import LEAST_KEPT_SECONDS

LONGEST_SECONDS = 3600.0


def _named(name: str) -> AliasChoices:
    return AliasChoices(f"run_job_{name}")


class RunJobSettings(KubernetesSettings):
    """Which jobs may run, where, and for how long."""

    images: str = Field(min_length=1, validation_alias=_named("images"))
    """The images that jobs may have, separated by commas; `*` stands for any characters:
    `alpine:3.20, ghcr.io/acme/*`. Without it the action is off."""
    templates: Path | None = Field(default=None, validation_alias=_named("templates"))
    """A folder of Job manifests, `NAME.yaml`."""
    namespace: str = Field(default="", validation_alias=_named("namespace"))
    """The namespace of all jobs. Default: that of the trigger's workload."""
    seconds: float = Field(
        default=300, gt=0, le=LONGEST_SECONDS, validation_alias=_named("seconds")
    )
    """The longest time that one job may take, in seconds."""
    keep_seconds: int = Field(
        default=600, ge=LEAST_KEPT_SECONDS, validation_alias=_named("keep_seconds")
    )
    """Seconds for which a finished job is kept."""

    @property
    def allowed(self) -> Sequence[str]:
        return self.images.replace(",", " ").split()


class RunJobValue(BaseModel):
    """Which template, and what its variables are; nothing for the job-executor's config.yaml."""

    model_config = ConfigDict(extra="forbid")

    template: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,100}$")
    variables: dict[str, str] = {}
    """Variables that the template's first container lists, with other values."""
    files: list[str] = []
    """Files and folders of Keptn's repository, which the job finds in /keptn."""

    @field_validator("variables", mode="before")
    @classmethod
    def _texts(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        entries = cast("Mapping[Any, Any]", given)
        return {str(k): str(v) if isinstance(v, int | float) else v for k, v in entries.items()}
