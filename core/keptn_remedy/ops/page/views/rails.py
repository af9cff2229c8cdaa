"""The screen Rails: what holds where, what is used up, what refused, the policy in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keptn_remedy.guardrails.brake import PastPause
from keptn_remedy.guardrails.matching import Resolved, Rules, Scope
from keptn_remedy.guardrails.rails import RAILS
from keptn_remedy.guardrails.uses import Use, counted_then, places, rate_words, uses
from keptn_remedy.guardrails.words import ORDER, Part
from keptn_remedy.journal import ActedOn, History, WholeRecord
from keptn_remedy.ops.page.views.execution import Milestone
from keptn_remedy.ops.page.views.now import RefusedRow
from keptn_remedy.ops.page.views.shown import lasted, moment


@dataclass(frozen=True, slots=True)
class UseView:
    """As `Use`, with its time as people read it."""

    rail: str
    rule: str
    words: str
    used: int
    limit: int | None
    holds: bool
    free_at: datetime | None


@dataclass(frozen=True, slots=True)
class TargetView:
    """What the rails have counted of one action on one target."""

    target: str
    action: str
    scope: str
    uses: Sequence[UseView]

    @property
    def is_held(self) -> bool:
        return any(use.holds for use in self.uses)

    @property
    def is_suspended(self) -> bool:
        return any(use.holds and use.rail == "suspended" for use in self.uses)


@dataclass(frozen=True, slots=True)
class CountedNow:
    """What rails have counted: of each target that was acted on lately, and over all."""

    targets: Sequence[TargetView]
    at_once: Use


@dataclass(frozen=True, slots=True)
class RailsView:
    """The screen. `problem` is why the newest policy file was rejected."""

    targets: Sequence[TargetView]
    at_once: Use
    refused: Sequence[RefusedRow]
    parts: Sequence[Part]
    source: str
    problem: str
    brake: Sequence[Milestone]
    order: str = ORDER


def count(
    touched: Sequence[ActedOn], rules: Rules, history: History, now: float, wall_ahead: float
) -> CountedNow:
    """Ask the rails about each target; those that hold come first."""
    found: list[TargetView] = []
    for each in touched:
        scope = Scope(
            each.project,
            each.stage,
            each.service,
            each.action,
            planned=each.planned,
            target=each.target,
        )
        asked = uses(rules.resolve(scope), scope, history, now, wall_ahead)
        where = f"{each.project} / {each.stage} / {each.service}"
        shown = [_use(use, wall_ahead) for use in asked]
        found.append(TargetView(each.target, each.action, where, shown))
    everything = rules.resolve(Scope("", "", "", "", planned=True))
    found.sort(key=lambda it: not it.is_held)
    return CountedNow(found, places(everything, history, now))


def brake(paused: Sequence[PastPause]) -> list[Milestone]:
    """The pauses so far, the newest first."""
    found: list[Milestone] = []
    for each in paused:
        found.append(Milestone(moment(each.since), f"Paused by {each.by}", "bad", [each.reason]))
        if each.until is not None:
            by = f" by {each.ended_by}" if each.ended_by else ""
            lasting = f"after {lasted(each.until - each.since)}"
            found.append(Milestone(moment(each.until), f"Ended{by}", "good", [lasting]))
    return found[::-1]


def source(in_force: Mapping[str, Any]) -> str:
    """Where the rules come from."""
    if in_force.get("policy") is None:
        return "No policy file (REMEDY_POLICY): the built-in rules alone hold."
    return f"From {in_force['policy']}, sha256 {in_force['policy_sha256']}."


def said_then(
    record: WholeRecord, rules: Rules, history: History, at: float, refused_by: str = ""
) -> list[str]:
    """What the rails found for the first target of an execution, in words."""
    target = record.plan.changes[0].target if record.plan and record.plan.changes else None
    place = f"{record.project}/{record.stage}/{record.service}"
    scope = Scope(
        record.project,
        record.stage,
        record.service,
        record.action,
        planned=record.plan is not None,
        target=target or f"service {place}",
    )
    return asked_then(rules.resolve(scope), scope, history, at, refused_by)


def asked_then(
    rules: Resolved, scope: Scope, history: History, at: float, refused_by: str = ""
) -> list[str]:
    """What each rail found when an execution was admitted at that time, or refused by one of them:
    by the rules that hold now.
    """
    lines: list[str] = []
    for rail in RAILS:
        if refused_by == rail.name:
            return [*lines, f"{rail.name}: refused it. What comes after it was not asked."]
        if rail.name == "at-most":
            lines += [_rate_line(rate, history, at) for rate in rules.at_most]
        elif rail.is_set(rules, scope.planned):
            lines.append(f"{rail.name}: nothing against it")
    return lines


def _rate_line(rate: Any, history: History, at: float) -> str:
    then = counted_then(rate, history, at)
    return f"at-most: {then} of {rate.executions} {rate_words(rate)} ({rate.rule})"


def _use(use: Use, wall_ahead: float) -> UseView:
    free_at = None if use.free_at is None else moment(use.free_at + wall_ahead)
    return UseView(use.rail, use.rule, use.words, use.used, use.limit, use.holds, free_at)
