"""When not to act: the guard-rails, in the order they are asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import product
from typing import Any, Literal, NamedTuple

from keptn_remedy.action import Change, Denied
from keptn_remedy.guardrails import calendar
from keptn_remedy.guardrails.matching import Rate, Resolved, Scope, alike_in
from keptn_remedy.guardrails.units import Step, counted, in_words
from keptn_remedy.journal import History, Pause

Number = int | float | str
GLOBAL_STOP = "global stop"


class Case(NamedTuple):
    """One target that one execution is about to touch, and the rules that hold for it.

    `targets` are those of the whole plan; `replicas` are ordered before and after it. `services`
    are those of the stage, as far as Keptn told.
    """

    scope: Scope
    rules: Resolved
    target: str
    context: str
    now: float = 0.0
    changes: tuple[Change, ...] = ()
    targets: frozenset[str] = frozenset()
    replicas: tuple[int, int] | None = None
    pause: Pause | None = None
    services: int | None = None


@dataclass(frozen=True, slots=True)
class No:
    """Why a rail refuses, in words and in numbers.

    `rule` is told where a rail has several. `turn_within`: so many seconds are worth waiting, since
    others may end.
    """

    why: str
    numbers: dict[str, Number] = field(default_factory=dict[str, Number])
    rule: str | None = None
    turn_within: float | None = None


class Refusal(Denied):
    """A rail said no, because of a rule. `turn_within` is as in `No`."""

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
    """One guard-rail. `setting` is what switches it on in a rule."""

    name: str
    setting: str
    ask: Callable[[Case, Any], No | None]


def _pause(case: Case, _: object) -> No | None:
    pause = case.pause
    return No(paused_words(pause), {"paused_by": pause.by}, GLOBAL_STOP) if pause else None


def _decision(case: Case, _: object) -> No | None:
    if case.rules.decision == "allow":
        return None
    return No(f"{case.scope.action} is not allowed on {case.target}")


def _target(case: Case, _: object) -> No | None:
    if case.target.strip():
        return None
    return No("a change names no target, which could mean all of them", rule="always")


def _calendar(case: Case, _: object) -> No | None:
    rules = case.rules
    why = calendar.closed(rules.windows, rules.blackouts, case.now)
    if why is None:
        return None
    is_blackout = any(blackout.contains(case.now) for blackout in rules.blackouts)
    return No(why, rule=rules.rule("blackouts" if is_blackout else "windows"))


def _targets(case: Case, _: object) -> No | None:
    most = case.rules.targets_at_most
    found = len(case.targets)
    if most is None or found <= most:
        return None
    return No(
        f"it would touch {counted(found, 'target')}, {_allowed(most)}",
        {"targets": found, "limit": most},
    )


def _replicas(case: Case, _: object) -> No | None:
    for before, after in _sizes(case):
        if no := _size(case, before, after):
            return no
    return None


def _suspended(case: Case, history: History) -> No | None:
    most = case.rules.suspend_after
    if most is None:
        return None
    streak = history.streak(case.scope.action, case.target, case.context)
    if streak < most:
        return None
    return No(
        f"{counted(streak, 'execution')} of {case.scope.action} on {case.target} in a row did not"
        f" help, and {most} {_are(most)} enough; remedy resume --target {case.target!r} lets it act"
        " again",
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
        f"{last.action} touched {case.target} {_in_words(ago)} ago (execution"
        f" {history.execution_id(last)}), and {in_words(pause)} must pass;"
        f" {_free_again(ended_at + pause)}",
        {"seconds": round(ago, 1), "limit_seconds": pause},
    )


def _settling(case: Case, history: History) -> No | None:
    last = history.last(case.target)
    if last is None:
        return None
    # Without an end it is being finished just now: whoever acts holds the target.
    settled_at = last.settled_at or case.now + case.rules.settle
    left = settled_at - case.now
    # A clock that was set back must not make it settle where nothing has to.
    if left <= 0 or settled_at == last.ended_at:
        return None
    return No(
        f"{last.action} on {case.target} still settles for {_in_words(left)} (execution"
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
    # One or two of a few services are a large share, and no storm.
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
        f"{planned_now(unsettled)}, {most} may at once",
        {"executions": unsettled, "limit": most},
        turn_within=case.rules.turn_within,
    )


RAILS: Sequence[Rail] = (
    Rail("pause", "", _pause),
    Rail("decision", "decision", _decision),
    Rail("target", "", _target),
    Rail("calendar", "windows", _calendar),
    Rail("targets", "targets_at_most", _targets),
    Rail("replicas", "replicas_at_most", _replicas),
    Rail("suspended", "suspend_after", _suspended),
    Rail("settling", "settle", _settling),
    Rail("cooldown", "cooldown", _cooldown),
    Rail("once-within", "once_within", _once_within),
    Rail("at-most", "at_most", _at_most),
    Rail("storm", "storm", _storm),
    Rail("at-once", "at_once", _at_once),
)
"""Each target of a plan is asked about in this order; the first rail that refuses is told. What may
pass comes last, so that nobody waits in vain."""

STANDING = RAILS[:6]
"""What needs no history: asked of a plan that changes nothing, and again of one that an earlier
process had admitted."""


def first_refusal(
    cases: Sequence[Case], history: History | None, rails: Sequence[Rail] = RAILS
) -> Refusal | None:
    """The first no, rail by rail."""
    for rail, case in product(rails, cases):
        if no := rail.ask(case, history):
            rule = no.rule or case.rules.rule(rail.setting)
            return Refusal(rail.name, rule, no.why, no.numbers, no.turn_within)
    return None


def paused_words(pause: Pause) -> str:
    """Who paused, since when, and why."""
    return f"paused by {pause.by} since {pause.since:%Y-%m-%dT%H:%M:%SZ}: {pause.reason}"


def planned_now(number: int) -> str:
    """So many planned executions that count at once."""
    do = "runs or settles" if number == 1 else "run or settle"
    return f"{counted(number, 'planned execution')} {do}"


def _allowed(most: int) -> str:
    return f"at most {most} {_are(most)} allowed"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _rate(case: Case, history: History, rate: Rate) -> No | None:
    most, within = rate.executions, rate.within_seconds
    found = history.count(case.now - within, rate.alike, most)
    if found < most:
        return None
    per = " and ".join(f"{name} {getattr(rate.alike, name)}" for name in rate.per)
    last_to_leave = history.admitted_at(case.now - within, rate.alike, found - most)
    return No(
        f"{counted(found, 'execution')} with the same {per} within {in_words(within)},"
        f" {_allowed(most)}; {_free_again(math.nextafter(last_to_leave + within, math.inf))}",
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
        return None  # even if each of them was on something else
    found = len(history.distinct(what, *window) | own)
    if found <= most:
        return None
    return No(
        f"with this one {counted(found, what)} of stage {stage} would be touched within"
        f" {in_words(within)}, {_allowed(most)}: where everything looks broken, the cause"
        " is likely elsewhere",
        {f"{what}s": found, "limit": most, "within_seconds": within},
    )


def _sizes(case: Case) -> list[tuple[int | None, int]]:
    """Numbers of replicas, before and after."""
    if case.replicas:
        return [case.replicas]
    found: list[tuple[int | None, int]] = []
    for change in case.changes:
        after = _whole(change.after)
        if "replica" in change.field.partition(" ")[0].lower() and after is not None:
            found.append((_whole(change.before), after))
    return found


def _whole(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _size(case: Case, before: int | None, after: int) -> No | None:
    if after == before:
        return None
    rules = case.rules
    most, least, step = rules.replicas_at_most, rules.replicas_at_least, rules.replicas_step
    grows, shrinks = before is None or after > before, before is None or after < before
    checks: tuple[tuple[str, object, bool], ...] = (
        ("zero_replicas", "0 are not allowed", after == 0 and not rules.zero_replicas),
        ("replicas_at_most", f"at most {most}", most is not None and grows and after > most),
        (
            "replicas_at_least",
            f"at least {least}",
            least is not None and shrinks and after < least and not _is_wanted_zero(rules, after),
        ),
        ("replicas_step", f"a step of at most {step}", not _is_in_step(step, before, after)),
    )
    for setting, limit, is_broken in checks:
        if is_broken:
            why = f"{case.target} would go from {_known(before)} to {after} replicas; {limit}"
            numbers: dict[str, Number] = {"replicas": after, "limit": str(limit)}
            return No(why, numbers, rules.rule(setting))
    return None


def _is_wanted_zero(rules: Resolved, after: int) -> bool:
    """Whether a rule of the policy itself lets it go to 0, below any floor."""
    return after == 0 and rules.zero_replicas and "zero_replicas" in rules.set_by


def _is_in_step(step: Step | None, before: int | None, after: int) -> bool:
    if step is None or before is None:
        return True
    fewest, most = step.bounds(before)
    return fewest <= after <= most


def _known(number: int | None) -> str:
    return "an unknown number" if number is None else str(number)


def _free_again(at: float) -> str:
    moment = datetime.fromtimestamp(math.ceil(at), UTC)
    return f"free again at {moment:%Y-%m-%dT%H:%M:%SZ}"


def _in_words(seconds: float) -> str:
    """What a clock that was set back makes negative is none."""
    return in_words(round(seconds) if seconds > 1 else round(max(0.0, seconds), 1))
