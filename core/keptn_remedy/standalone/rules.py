"""The numbers that a ladder goes by, and the rungs of the remedy it climbs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from keptn_remedy.action import JSON

OnUnknown = Literal["escalate", "hold", "next"]
OnFailed = Literal["next", "escalate"]
Kind = Literal["alert", "promql", "slo"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LadderRules:
    """What holds for every ladder; times are in seconds (docs/standalone.md has the meanings)."""

    act_after: float = 10.0
    wait: float = 600.0
    window: float = 600.0
    hold_for: float = 120.0
    quiet_for: float = 300.0
    relapse: float = 1_800.0
    max_open: float = 86_400.0
    confirm_for: float = 300.0
    on_unknown: OnUnknown = "escalate"
    on_action_failed: OnFailed = "next"
    storm_episodes: int = 20
    storm_within: float = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """How the judge asks whether a rung helped."""

    kind: Kind = "alert"
    query: str = ""
    want: str = ""
    evidence: str = ""
    worse_by: float | None = None
    slo: Mapping[str, Any] | None = None
    """For `slo`: the document, and the query of each indicator; or why there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """One action of an entry of remediation.yaml, with what it overrides of the ladder's rules."""

    action: str
    name: str = ""
    description: str = ""
    value: JSON = None
    wait: float | None = None
    window: float | None = None
    hold_for: float | None = None
    on_unknown: OnUnknown | None = None
    on_action_failed: OnFailed | None = None
    criterion: Criterion = field(default_factory=Criterion)


def remedies(stored: Mapping[str, Any] | None) -> list[Remedy]:
    """The rungs of a stored entry."""
    rungs = cast("list[dict[str, Any]]", (stored or {}).get("rungs", []))
    return [_remedy(**each) for each in rungs]


def _remedy(criterion: Mapping[str, Any], **others: Any) -> Remedy:
    return Remedy(**others, criterion=Criterion(**criterion))
