"""The screen Actions: what there is, an example of each value, and why one is off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keptn_remedy.action import PlannedAction
from keptn_remedy.registry import Broken, Entry
from keptn_remedy.remediation.example import example


@dataclass(frozen=True, slots=True)
class ActionView:
    """One action. `example` is its entry of remediation.yaml."""

    name: str
    aliases: Sequence[str]
    kind: str
    is_on: bool
    why_off: str
    origin: str
    description: str
    example: str


def actions(entries: Sequence[Entry], broken: Sequence[Broken]) -> list[ActionView]:
    """Those that are on first, then by name; what can't be used comes last."""
    shown = [_view(entry) for entry in entries]
    shown.sort(key=lambda it: (not it.is_on, it.name))
    return shown + [
        ActionView(it.name, (), "can't be used", False, it.why, it.origin, "", "") for it in broken
    ]


def _view(entry: Entry) -> ActionView:
    kind = "planned: plans, verifies, can be undone"
    if not issubclass(entry.cls, PlannedAction):
        kind = "listens only" if entry.cls.subscriptions else "plain: runs, can't be undone"
    return ActionView(
        name=entry.name,
        aliases=entry.aliases,
        kind=kind,
        is_on=entry.action is not None,
        why_off=entry.off or "",
        origin=entry.origin,
        description=" ".join((entry.cls.__doc__ or "").split()),
        example=example(entry.name, entry.schema()),
    )
