"""Nodes: which one is meant, whether pods may come to it, and how many are closed to them."""

from __future__ import annotations

import re
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, model_validator

from keptn_remedy import Context, Denied, PermanentError
from keptn_remedy_actions.cluster import (
    NODE,
    Object,
    Ref,
    are,
    condition_of,
    counted,
    spec_of,
)
from keptn_remedy_actions.cluster.api import ClusterApi
from keptn_remedy_actions.cluster.compare_and_set import Field as Pointed
from keptn_remedy_actions.cluster.settings import KubernetesSettings
from keptn_remedy_actions.cluster.targets import filled

CLOSED = "/spec/unschedulable"
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


class NodeSettings(KubernetesSettings):
    """Which node is meant, and how many may be closed."""

    most_nodes: int = Field(ge=1, validation_alias=AliasChoices("drain_most_nodes"))
    """The most nodes that may be closed to pods at a time, by whomever. Without it `drain-node` and
    `uncordon` are off."""
    most_pods: int = Field(
        default=100, ge=1, le=500, validation_alias=AliasChoices("drain_most_pods")
    )
    """The most pods of one node that are evicted; a node with more is refused."""
    node_template: str = Field(
        default="{labels[node]}", validation_alias=AliasChoices("drain_node_template")
    )
    """The node's name, of {project}, {stage}, {service} and {labels[x]} of the trigger."""


class NodeValue(BaseModel):
    """Which node, if not that of the template; alone or in a map."""

    model_config = ConfigDict(extra="forbid")

    node: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _alone(cls, given: Any) -> Any:
        return {"node": given} if isinstance(given, str) else given


async def found(
    api: ClusterApi, settings: NodeSettings, context: Context, value: NodeValue
) -> tuple[Ref, Object]:
    """The node that is meant.

    Raises:
        PermanentError: its name is invalid, or there is none.
    """
    name = value.node or filled(settings.node_template, context.trigger)
    if not _NAME.fullmatch(name):
        raise PermanentError(f"{name!r} is not a valid name of a node (RFC 1123)")
    ref = Ref(NODE, "", name)
    return ref, await api.get(ref)


def is_closed(node: Object) -> bool:
    """Whether no pods may come to it."""
    return bool(spec_of(node).get("unschedulable"))


def takes_pods(node: Object) -> bool:
    """Whether pods may come to it and would run there: it is open, and not known to be down."""
    return not is_closed(node) and condition_of(node, "Ready").get("status", "True") == "True"


async def check_enough_stay(api: ClusterApi, settings: NodeSettings, ref: Ref) -> None:
    """Refuse to close one node more than may be closed, or the last one.

    Raises:
        Denied: it would be.
    """
    others = [node for node in await api.list(NODE, "") if node["metadata"]["name"] != ref.name]
    closed = sum(map(is_closed, others))
    if closed + 1 > settings.most_nodes:
        raise Denied(
            f"{counted(closed, 'other node')} {are(closed)} closed already, and DRAIN_MOST_NODES"
            f" allows {settings.most_nodes}: {ref} stays open"
        )
    if not any(map(takes_pods, others)):
        raise Denied(f"{ref} is the last node that takes pods: it stays open")


def closing(node: Object) -> Pointed:
    """The change that closes it."""
    return Pointed(CLOSED, spec_of(node).get("unschedulable"), True)
