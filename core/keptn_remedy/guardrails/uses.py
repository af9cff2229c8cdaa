"""What guard-rails have counted so far, as people are shown it: how much is used up, what holds,
until when.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from keptn_remedy.guardrails import calendar
from keptn_remedy.guardrails.matching import Rate, Resolved, Scope
from keptn_remedy.guardrails.rails import planned_now
from keptn_remedy.guardrails.units import counted, in_words, spoken
from keptn_remedy.journal import History


@dataclass(frozen=True, slots=True)
class Use:
    """What one rail has counted. `limit` is None where it counts nothing. It `holds` while the next
    execution would be refused, or have to wait; `free_at` is the Unix time at which that ends by
    itself, None where it doesn't, or nobody knows.
    """

    rail: str
    rule: str
    words: str
    used: int = 0
    limit: int | None = None
    holds: bool = False
    free_at: float | None = None


def uses(
    rules: Resolved, scope: Scope, history: History, now: float, wall_ahead: float = 0.0
) -> list[Use]:
    """What the rails of a scope, with its target, have counted, in the order of their checks.

    `now` is as in `Case`; so are the times that are returned.
    """
    target = scope.target or ""
    found = [*_standing(rules, now, wall_ahead), *_suspension(rules, scope, target, history)]
    found += _since_last(rules, target, history, now)
    found += [_rate(rate, "at-most", history, now) for rate in rules.at_most]
    found += _storm(rules, scope, history, now)
    return found


def places(rules: Resolved, history: History, now: float) -> Use:
    """How many planned executions run or settle, over all targets."""
    unsettled, most = history.unsettled(now), rules.at_once
    is_full = most is not None and unsettled >= most
    return Use("at-once", rules.rule("at_once"), planned_now(unsettled), unsettled, most, is_full)


def counted_then(rate: Rate, history: History, at: float) -> int:
    """How many executions a rate counted at that Unix time, at which one was admitted."""
    since = at - rate.within_seconds
    return history.count(since, rate.alike) - history.count(at, rate.alike)


def rate_words(rate: Rate) -> str:
    """What a rate allows: `executions with the same target within 1h`."""
    return (
        f"executions with the same {' and '.join(rate.per)} within {in_words(rate.within_seconds)}"
    )


def _standing(rules: Resolved, now: float, wall_ahead: float) -> Iterator[Use]:
    if rules.decision != "allow":
        yield Use("decision", rules.rule("decision"), "it may not act at all", holds=True)
    if not (rules.windows or rules.blackouts):
        return
    why = calendar.closed(rules.windows, rules.blackouts, now + wall_ahead)
    opens = calendar.next_opening(rules.windows, rules.blackouts, now + wall_ahead) if why else None
    yield Use(
        "calendar",
        rules.rule("windows" if rules.windows else "blackouts"),
        why or "open now",
        holds=why is not None,
        free_at=None if opens is None else opens - wall_ahead,
    )


def _suspension(rules: Resolved, scope: Scope, target: str, history: History) -> Iterator[Use]:
    most = rules.suspend_after
    if most is None:
        return
    streak = history.streak(scope.action, target, "")
    words = "in a row did not solve the problem"
    if streak >= most:
        words += "; suspended until a person resumes it"
    used = min(streak, most)
    yield Use("suspended", rules.rule("suspend_after"), words, used, most, streak >= most)


def _since_last(rules: Resolved, target: str, history: History, now: float) -> Iterator[Use]:
    last = history.last(target)
    if last is None:
        return
    if last.ended_at is None:
        yield Use("target", "always", "an execution acts on it now", holds=True)
        return
    if last.settled_at and last.settled_at > now and last.settled_at != last.ended_at:
        words = f"{last.action} is settling"
        yield Use("settling", rules.rule("settle"), words, holds=True, free_at=last.settled_at)
    if rules.cooldown is not None:
        free_at = last.ended_at + rules.cooldown
        ago = spoken(max(0, round(now - last.ended_at)))
        words = f"{last.action} ended {ago} ago; the cooldown is {in_words(rules.cooldown)}"
        holds = free_at > now
        yield Use(
            "cooldown",
            rules.rule("cooldown"),
            words,
            holds=holds,
            free_at=free_at if holds else None,
        )
    if rules.once_within is not None:
        free_at = last.admitted_at + rules.once_within
        words = f"only once within {in_words(rules.once_within)}"
        holds = free_at > now
        yield Use(
            "once-within",
            rules.rule("once_within"),
            words,
            holds=holds,
            free_at=free_at if holds else None,
        )


def _rate(rate: Rate, rail: str, history: History, now: float) -> Use:
    since, most = now - rate.within_seconds, rate.executions
    found, free_at = history.count(since, rate.alike), None
    if found >= most:
        last_to_leave = history.admitted_at(since, rate.alike, found - most)
        free_at = math.nextafter(last_to_leave + rate.within_seconds, math.inf)
    return Use(rail, rate.rule, rate_words(rate), found, most, found >= most, free_at)


def _storm(rules: Resolved, scope: Scope, history: History, now: float) -> Iterator[Use]:
    if rules.storm is None:
        return
    since = now - rules.storm.within_seconds
    touched = len(history.distinct("target", since, scope.project, scope.stage))
    within = in_words(rules.storm.within_seconds)
    words = f"{counted(touched, 'target')} of stage {scope.stage} touched within {within}"
    yield Use("storm", rules.rule("storm"), words, touched, rules.storm.targets)
