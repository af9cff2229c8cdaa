"""What `resize` is asked for, and how far it may go."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AliasChoices, BeforeValidator, Field, field_validator, model_validator

from keptn_remedy_actions.cluster.amounts import EXAMPLES, Amount, Resource, parsed, read_amount
from keptn_remedy_actions.cluster.containers import Bounds
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from keptn_remedy_actions.cluster.targets import TargetValue


class ResizeSettings(KubernetesSettings):
    """How large containers may become."""

    most_cpu: str = Field(min_length=1, validation_alias=AliasChoices("resize_most_cpu"))
    """The most CPU that a container may get, such as `2` or `1500m`. Without it `resize` is off."""
    most_memory: str = Field(min_length=1, validation_alias=AliasChoices("resize_most_memory"))
    """The most memory that a container may get, such as `2Gi`. Without it `resize` is off."""
    step_cpu: str = Field(default="x2", validation_alias=AliasChoices("resize_step_cpu"))
    """How far one execution may change the CPU: `x2` doubles or halves it at most."""
    step_memory: str = Field(default="x2", validation_alias=AliasChoices("resize_step_memory"))
    """The same of memory, such as `+30%`."""
    templates: bool = Field(default=False, validation_alias=AliasChoices("resize_templates"))
    """Whether a value may ask that the workload's template is changed, too."""

    @field_validator("most_cpu", "most_memory")
    @classmethod
    def _is_amount(cls, text: str) -> str:
        if not parsed(text):
            raise ValueError("must be more than 0")
        return text

    @field_validator("step_cpu", "step_memory")
    @classmethod
    def _is_step(cls, text: str) -> str:
        step = read_amount(text)
        if step.how != "multiply" or step.number <= 1:
            raise ValueError("must be a step that grows: x2 or +30%")
        return text

    @property
    def bounds(self) -> dict[Resource, Bounds]:
        """How far each resource may go."""
        return {
            "cpu": Bounds("cpu", parsed(self.most_cpu), read_amount(self.step_cpu)),
            "memory": Bounds("memory", parsed(self.most_memory), read_amount(self.step_memory)),
        }


_Asked = Annotated[
    Any,
    BeforeValidator(lambda sent: None if sent is None else read_amount(sent)),
    Field(description=EXAMPLES, json_schema_extra={"type": ["number", "string", "null"]}),
]


class ResizeValue(TargetValue):
    """How much CPU and memory, for which container of which workload."""

    cpu: _Asked = None
    memory: _Asked = None
    container: str | None = None
    """Where the pods have several."""
    template: bool = False
    """Whether the workload's template is changed, too, which rolls out new pods."""

    @model_validator(mode="after")
    def _asks(self) -> Self:
        if not self.asked:
            raise ValueError("give `cpu` or `memory`")
        return self

    @property
    def asked(self) -> dict[Resource, Amount]:
        found: dict[Resource, Amount | None] = {"cpu": self.cpu, "memory": self.memory}
        return {resource: amount for resource, amount in found.items() if amount is not None}
