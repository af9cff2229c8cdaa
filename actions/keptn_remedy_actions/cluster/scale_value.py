"""The `value` of scale: how many replicas, within which bounds, and of which workload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self, cast

from pydantic import BeforeValidator, model_validator
from pydantic import Field as Described

from keptn_remedy_actions.cluster.quantity import EXAMPLES, as_increment, read_quantity
from keptn_remedy_actions.cluster.targets import TargetValue


def _no_switch(sent: Any) -> Any:
    if isinstance(sent, bool):
        raise ValueError("must be a number of replicas")  # noqa: TRY004  pydantic's own
    return sent


Bound = Annotated[int | None, BeforeValidator(_no_switch, json_schema_input_type=int | None)]


class ScaleValue(TargetValue):
    """How many replicas, within which bounds, and of which workload."""

    replicas: Annotated[
        Any,
        BeforeValidator(read_quantity, json_schema_input_type=int | float | str),
        Described(description=EXAMPLES),
    ]
    min: Bound = Described(default=None, ge=0)
    max: Bound = Described(default=None, ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


def as_object(sent: Any) -> Any:
    """A value that is no map is the number of replicas; `increment` is one that is added."""
    if not isinstance(sent, dict):
        return {"replicas": sent}
    value = cast("Mapping[str, Any]", sent)
    if "increment" in value and "replicas" not in value:
        others = {key: value[key] for key in value if key != "increment"}
        return {**others, "replicas": as_increment(value["increment"])}
    if "replicas" not in sent:
        raise ValueError(f"must give the number of replicas: {EXAMPLES}")
    return value
