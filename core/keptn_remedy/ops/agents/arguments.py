"""What agents send with each tool. An unknown name is refused: a misspelt one would be lost."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from keptn_remedy.events import MAX_ATTRIBUTE_CHARACTERS

MAX_REASON_CHARACTERS = 500


class Arguments(BaseModel):
    """The arguments of a tool."""

    model_config = ConfigDict(extra="forbid", strict=True)


class OfAnExecution(Arguments):
    """Of a tool about one execution."""

    execution: str = Field(
        min_length=1, max_length=MAX_ATTRIBUTE_CHARACTERS, description="The execution's whole id."
    )


class UndoArguments(OfAnExecution):
    """Of the tool that asks for an undo."""

    reason: str = Field(
        min_length=1, max_length=MAX_REASON_CHARACTERS, description="Why, for whoever decides."
    )


class OfAPlace(Arguments):
    """Of a tool about an action on one service."""

    action: str = Field(min_length=1, max_length=MAX_ATTRIBUTE_CHARACTERS)
    project: str = Field(min_length=1, max_length=MAX_ATTRIBUTE_CHARACTERS)
    stage: str = Field(min_length=1, max_length=MAX_ATTRIBUTE_CHARACTERS)
    service: str = Field(min_length=1, max_length=MAX_ATTRIBUTE_CHARACTERS)


class PlanArguments(OfAPlace):
    """Of the tool that plans."""

    value: Any = Field(default=None, description="The action's value, as in remediation.yaml.")


class RequestArguments(PlanArguments):
    """Of the tool that asks for an execution."""

    digest: str = Field(
        pattern="^[0-9a-f]{64}$", description="The digest that the tool `plan` answered."
    )
    reason: str = Field(
        min_length=1, max_length=MAX_REASON_CHARACTERS, description="Why, for whoever approves."
    )
