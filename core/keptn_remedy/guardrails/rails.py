"""The guard-rails: each may refuse an execution. They are checked in a fixed order."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from keptn_remedy.action import Change, Denied
from keptn_remedy.guardrails import calendar, container_sizes
from keptn_remedy.guardrails.matching import REMEMBERED, Rate, Resolved, Scope, alike_in
from keptn_remedy.guardrails.replica_sizes import broken_limit, sizes
from keptn_remedy.guardrails.units import counted, in_words, spoken
from keptn_remedy.journal import History, Pause

Number = int | float | str
GLOBAL_STOP = "global stop"


class Case(NamedTuple):
    """One target of one execution, and the rules that apply to it.

    `now` is Unix time in seconds, by the clock that stamps effects; the wall clock is `wall_ahead`
    seconds ahead of it. `changes` are those of the target, `targets` those of the whole
    plan. `replicas` are the desired ones before and after the plan. `services` is the number of
    services of the stage, None where it is unknown.
    """

    scope: Scope
    rules: Resolved
    target: str
    context: str
    now: float = 0.0
    wall_ahead: float = 0.0
    changes: tuple[Change, ...] = ()
    targets: frozenset[str] = frozenset()
    replicas: tuple[int, int] | None = None
    pause: Pause | None = None
    services: int | None = None


@dataclass(frozen=True, slots=True)
class No:
    """Why a rail refuses, in words and in numbers.

    `rule` overrides the rule that set the rail's own setting. `turn_within`: for so many seconds
    it is worth trying again, because executions that count may end.
    """

    why: str
    numbers: dict[str, Number] = field(default_factory=dict[str, Number])
    rule: str | None = None
    turn_within: float | None = None


class Refusal(Denied):
    """A rail refused an execution because of a rule. `turn_within` is as in `No`."""

    def __init__(
        self,
        rail: str,
        rule: str,
        why: str,
        numbers: Mapping[str, Number] | None = None,
        turn_within: float | None = None,
    ) -> None:
        super().__init__(f"refused by guard-rail {rail} ({rule}): {why}")
        self.rail = rail
        self.rule = rule
        self.numbers = numbers or {}
        self.turn_within = turn_within


@dataclass(frozen=True, slots=True)
class Rail:
    """One guard-rail. `setting` is the rule's setting behind its refusals.

    `check` gets the history of admitted executions; None where `needs_history` is false. `is_set`
    tells whether it may refuse anything under these rules, by whether the action is a planned one.
    """

    name: str
    setting: str
    check: Callable[[Case, Any], No | None]
    needs_history: bool = True
    is_set: Callable[[Resolved, bool], object] = lambda rules, planned: True


def _pause(case: Case, _: object) -> No | None:
    pause = case.pause
    return No(paused_words(pause), {"paused_by": pause.by}, GLOBAL_STOP) if pause else None


def _decision(case: Case, _: object) -> No | None:
    if case.rules.decision == "allow":
        return None
    return No(f"decision: deny forbids {case.scope.action} on {case.target}")


def _target(case: Case, _: object) -> No | None:
    if case.target.strip():
        return None
    return No("a change of the plan names no target; the action must name it", rule="always")


def _calendar(case: Case, _: object) -> No | None:
    rules = case.rules
    if not (rules.windows or rules.blackouts):
        return None
    wall = case.now + case.wall_ahead
    why = calendar.closed(rules.windows, rules.blackouts, wall)
    if why is None:
        return None
    is_blackout = any(blackout.contains(wall) for blackout in rules.blackouts)
    return No(why, rule=rules.rule("blackouts" if is_blackout else "windows"))


def _targets(case: Case, _: object) -> No | None:
    most = case.rules.targets_at_most
    found = len(case.targets)
    if most is None or found <= most:
        return None
    return No(
        f"the plan changes {counted(found, 'target')}; the limit is {most}",
        {"targets": found, "limit": most},
    )


def _replicas(case: Case, _: object) -> No | None:
    for size in sizes(case.changes, case.replicas):
        if broken := broken_limit(case.rules, size):
            why = f"{case.target} would go {size}; limit ({broken.setting}): {broken.limit}"
            numbers: dict[str, Number] = {"replicas": size.after, "limit": broken.limit}
            return No(why, numbers, case.rules.rule(broken.setting))
    return None


def _resources(case: Case, _: object) -> No | None:
    broken = container_sizes.broken_limit(case.rules, case.changes)
    if broken is None:
        return None
    why = f"{broken.change} breaks {broken.setting}: {broken.limit}"
    return No(why, {"limit": broken.limit}, case.rules.rule(broken.setting))


def _suspended(case: Case, history: History) -> No | None:
    most = case.rules.suspend_after
    if most is None:
        return None
    streak = history.streak(case.scope.action, case.target, case.context)
    if streak < most:
        return None
    return No(
        f"{counted(streak, 'execution')} in a row of {case.scope.action} on {case.target} did not"
        f" solve the problem; the limit is {most}; to let it act again, run remedy resume --target"
        f" {case.target!r}",
        {"executions": streak, "limit": most},
    )


def _cooldown(case: Case, history: History) -> No | None:
    pause, last = case.rules.cooldown, history.last(case.target)
    if pause is None or last is None:
        return None
    ended_at = last.ended_at or case.now
    ago = case.now - ended_at
    if ago >= pause:
        return None
    return No(
        f"{last.action} on {case.target} ended {spoken(max(0, round(ago)))} ago (execution"
        f" {history.execution_id(last)}); the cooldown is {in_words(pause)};"
        f" {_allowed_again(case, ended_at + pause)}",
        {"seconds": round(ago, 1), "limit_seconds": pause},
    )


def _settling(case: Case, history: History) -> No | None:
    last = history.last(case.target)
    if last is None:
        return None
    # Without an end it is just finishing: while it acts, it holds the target's lock.
    settled_at = last.settled_at or case.now + case.rules.settle
    left = settled_at - case.now
    # After a clock is set back, an effect that needs no settling must not seem to settle.
    if left <= 0 or settled_at == last.ended_at:
        return None
    return No(
        f"{last.action} on {case.target} is settling for another {_in_words(left)} (execution"
        f" {history.execution_id(last)})",
        {"seconds_left": round(left, 1)},
    )


def _once_within(case: Case, history: History) -> No | None:
    window, last = case.rules.once_within, history.last(case.target)
    if window is None or last is None or last.admitted_at < case.now - window:
        return None
    per = ("action", "target")
    once = Rate(1, window, per, case.rules.rule("once_within"), alike_in(case.scope, per))
    return _rate(case, history, once)


def _at_most(case: Case, history: History) -> No | None:
    for rate in case.rules.at_most:
        if no := _rate(case, history, rate):
            return no
    return None


def _storm(case: Case, history: History) -> No | None:
    storm = case.rules.storm
    if storm is None:
        return None
    if no := _spread(case, history, "target", case.targets, storm.targets):
        return no
    if storm.percent is None or not case.services:
        return None
    # In a small stage one or two services are a large share, but no storm.
    most = max(2, int(case.services * storm.percent / 100))
    return _spread(case, history, "service", frozenset((case.scope.service,)), most)


def _at_once(case: Case, history: History) -> No | None:
    most = case.rules.at_once
    if most is None or not case.scope.planned:
        return None
    unsettled = history.unsettled(case.now)
    if unsettled < most:
        return None
    return No(
        f"{planned_now(unsettled)}; the limit is {most}",
        {"executions": unsettled, "limit": most},
        turn_within=case.rules.turn_within,
    )


def _sets(setting: str) -> Callable[[Resolved, bool], object]:
    return lambda rules, planned: getattr(rules, setting) is not None


def _limits_resources(rules: Resolved, planned: bool) -> object:
    limits = (rules.cpu_at_most, rules.memory_at_most, rules.cpu_step, rules.memory_step)
    return planned and any(limits)


RAILS: Sequence[Rail] = (
    Rail("pause", "", _pause, needs_history=False),
    Rail("decision", "decision", _decision, False, lambda rules, _: rules.decision != "allow"),
    # A plain action has the service as its one target, and neither replicas nor resources.
    Rail("target", "", _target, False, lambda _, planned: planned),
    Rail(
        "calendar", "windows", _calendar, False, lambda rules, _: rules.windows or rules.blackouts
    ),
    Rail("targets", "targets_at_most", _targets, False, _sets("targets_at_most")),
    Rail("replicas", "replicas_at_most", _replicas, False, lambda _, planned: planned),
    Rail("resources", "cpu_at_most", _resources, False, _limits_resources),
    Rail("suspended", "suspend_after", _suspended, is_set=_sets("suspend_after")),
    # It is the earlier execution's rule that has a target settle.
    Rail("settling", "settle", _settling),
    Rail("cooldown", "cooldown", _cooldown, is_set=_sets("cooldown")),
    Rail("once-within", "once_within", _once_within, is_set=_sets("once_within")),
    Rail("at-most", "at_most", _at_most, is_set=lambda rules, _: rules.at_most),
    Rail("storm", "storm", _storm, is_set=_sets("storm")),
    Rail(
        "at-once",
        "at_once",
        _at_once,
        is_set=lambda rules, planned: planned and rules.at_once is not None,
    ),
)
"""The order of the checks; the first refusal is reported.

`at-once` comes last: an execution waits for it, and should not wait only to be refused by another.
"""

STANDING = tuple(rail for rail in RAILS if not rail.needs_history)
"""The rails for a plan that changes nothing, and for one that an earlier process admitted. They
are asked before an admission is queued, the others in its transaction.
"""
COUNTING = tuple(rail for rail in RAILS if rail.needs_history)


def first_refusal(cases: Sequence[Case], history: History | None) -> Refusal | None:
    """The first refusal by the rails that need a history, or without one by the others: rail by
    rail, and for each rail case by case.
    """
    needs_history = history is not None
    if len(cases) == 1:
        rules, scope = cases[0].rules, cases[0].scope
        rails = _in_force(rules, scope.planned, needs_history)
    else:
        rails = COUNTING if needs_history else STANDING
    for rail in rails:
        for case in cases:
            if no := rail.check(case, history):
                rule = no.rule or case.rules.rule(rail.setting)
                return Refusal(rail.name, rule, no.why, no.numbers, no.turn_within)
    return None


@lru_cache(REMEMBERED)
def _in_force(rules: Resolved, planned: bool, needs_history: bool) -> Sequence[Rail]:
    """The rails that may refuse anything, in order: hardly ever are all of them set."""
    rails = COUNTING if needs_history else STANDING
    return tuple(rail for rail in rails if rail.is_set(rules, planned))


def paused_words(pause: Pause) -> str:
    """Who paused, since when, and why."""
    return f"paused by {pause.by} since {pause.since:%Y-%m-%dT%H:%M:%SZ}: {pause.reason}"


def planned_now(number: int) -> str:
    """`10 planned executions are running or settling`."""
    are = "is" if number == 1 else "are"
    return f"{counted(number, 'planned execution')} {are} running or settling"


def _rate(case: Case, history: History, rate: Rate) -> No | None:
    most, within = rate.executions, rate.within_seconds
    found = history.count(case.now - within, rate.alike, most)
    if found < most:
        return None
    per = " and ".join(f"{name} {getattr(rate.alike, name)}" for name in rate.per)
    last_to_leave = history.admitted_at(case.now - within, rate.alike, found - most)
    return No(
        f"{counted(found, 'execution')} with the same {per} within {in_words(within)}; the limit is"
        f" {most}; {_allowed_again(case, math.nextafter(last_to_leave + within, math.inf))}",
        {"executions": found, "limit": most, "within_seconds": within},
        rate.rule,
    )


def _spread(
    case: Case,
    history: History,
    what: Literal["target", "service"],
    own: frozenset[str],
    most: int,
) -> No | None:
    within, stage = case.rules.storm.within_seconds if case.rules.storm else 0.0, case.scope.stage
    window = (case.now - within, case.scope.project, stage)
    if history.effects(*window, most - len(own) + 1) + len(own) <= most:
        return None  # even if each effect had a target or service of its own
    found = len(history.distinct(what, *window) | own)
    if found <= most:
        return None
    return No(
        f"with this execution, {counted(found, what)} of stage {stage} would be touched within"
        f" {in_words(within)}; the limit is {most}; look for a cause that they share",
        {f"{what}s": found, "limit": most, "within_seconds": within},
    )


def _allowed_again(case: Case, at: float) -> str:
    moment = datetime.fromtimestamp(math.ceil(at + case.wall_ahead), UTC)
    return f"allowed again at {moment:%Y-%m-%dT%H:%M:%SZ}"


def _in_words(seconds: float) -> str:
    """Rounded for people; negative times, after a clock was set back, count as 0."""
    return in_words(round(seconds) if seconds > 1 else round(max(0.0, seconds), 1))
