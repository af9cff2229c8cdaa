"""What the rules would do with an execution that nobody has asked for yet, and by which rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from keptn_remedy.action import Change
from keptn_remedy.guardrails.matching import Resolved, Rules, Scope
from keptn_remedy.guardrails.rails import Case, first_refusal
from keptn_remedy.guardrails.units import in_words as duration

Verdict = Literal["acts", "asks", "dry-run", "refused", "ignored"]
VERDICTS: tuple[Verdict, ...] = ("acts", "asks", "dry-run", "refused", "ignored")


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would happen, by which rule ("" for the built-in ones), and why. `counted` are the rails
    that would count earlier executions besides, which are not known here.
    """

    verdict: Verdict
    rule: str
    why: str
    counted: tuple[str, ...] = ()


def forecast(
    rules: Rules,
    scope: Scope,
    now: float,
    targets: tuple[str, ...] = (),
    fields: Mapping[str, tuple[Any, Any]] | None = None,
) -> Forecast:
    """What would happen at that Unix time. `targets` are those of the plan; without any, the
    service counts. `fields` are what it changes of each, with the values before and after.
    """
    named = targets or (f"service {scope.project}/{scope.stage}/{scope.service}",)
    cases = [_case(rules, scope, now, target, named, fields or {}) for target in named]
    ignoring = next((case.rules for case in cases if case.rules.decision == "ignore"), None)
    if ignoring:
        return Forecast("ignored", ignoring.set_by.get("decision", ""), "its events get no reply")
    strictest = max((case.rules for case in cases), key=_strictness)
    refusal = first_refusal(cases, None)
    if strictest.mode == "dry-run":
        rule = strictest.set_by.get("mode", "")
        why = f"it plans and reports; it would be {refusal}" if refusal else "it plans and reports"
        return Forecast("dry-run", rule, why)
    if refusal:
        return Forecast("refused", refusal.rule, str(refusal))
    counted = tuple(dict.fromkeys(each for case in cases for each in _counted(case.rules)))
    if strictest.mode == "approve":
        within, default = duration(strictest.approve_within), strictest.approval_default
        verdict = "denied" if default == "deny" else "approved"
        why = f"a person must approve within {within}; then it is {verdict}"
        return Forecast("asks", strictest.set_by.get("mode", ""), why, counted)
    return Forecast("acts", strictest.set_by.get("mode", ""), "no rule is against it", counted)


def _case(
    rules: Rules,
    scope: Scope,
    now: float,
    target: str,
    targets: tuple[str, ...],
    fields: Mapping[str, tuple[Any, Any]],
) -> Case:
    of_target = scope._replace(target=target)
    return Case(
        of_target,
        rules.resolve(of_target),
        target,
        context="",
        now=now,
        changes=tuple(Change(target, field, *values) for field, values in fields.items()),
        targets=frozenset(targets),
    )


def _strictness(rules: Resolved) -> int:
    return ("act", "approve", "dry-run").index(rules.mode)


def _counted(rules: Resolved) -> list[str]:
    """The limits that depend on earlier executions, in the policy's own words."""
    found: list[str] = []
    if rules.suspend_after:
        found.append(f"suspend_after {rules.suspend_after}")
    if rules.cooldown:
        found.append(f"cooldown {duration(rules.cooldown)}")
    if rules.once_within:
        found.append(f"once_within {duration(rules.once_within)}")
    for rate in rules.at_most:
        within = duration(rate.within_seconds)
        found.append(f"at_most {rate.executions} in {within} per {', '.join(rate.per)}")
    if rules.storm:
        found.append("storm")
    if rules.at_once:
        found.append(f"at_once {rules.at_once}")
    return found
