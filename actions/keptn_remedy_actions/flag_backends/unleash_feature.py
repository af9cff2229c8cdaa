"""What Unleash's admin API answers about a flag: its state, strategies, parents and children."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

NOBODY = "0"
"""The rollout of a strategy that is active and reaches nobody."""


class Strategy(BaseModel):
    """An activation strategy: for whom a flag is on."""

    id: str
    disabled: bool | None = False
    name: str = ""
    parameters: dict[str, Any] | None = None
    constraints: list[Any] | None = None
    segments: list[Any] | None = None
    variants: list[Any] | None = None

    @property
    def reaches_nobody(self) -> bool:
        return str((self.parameters or {}).get("rollout", "")) == NOBODY


class Parent(BaseModel):
    """A flag that another one depends on: it has to be on, or off, for that one to be on."""

    feature: str
    enabled: bool = True


class InEnvironment(BaseModel):
    """A flag in one environment; `name` is that of the environment."""

    name: str
    enabled: bool
    strategies: list[Strategy] = []

    @property
    def active(self) -> list[Strategy]:
        return [strategy for strategy in self.strategies if not strategy.disabled]


class Feature(BaseModel):
    """A flag, in all environments of its project."""

    environments: list[InEnvironment]
    archived: bool | None = False
    dependencies: list[Parent] = []
    children: list[str] = []


class Names(BaseModel):
    """The names of a project's flags."""

    class _Named(BaseModel):
        name: str

    features: list[_Named]


class FlagState(InEnvironment):
    """A flag in one environment, with what it depends on and what depends on it."""

    parents: list[Parent] = []
    children: list[str] = []


class Refusal(BaseModel):
    """The body of an error."""

    name: str = ""
    message: str = ""
    permissions: list[str] = []
