"""A policy in words: which settings apply to whom, those that win first."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

from keptn_remedy.guardrails.calendar import Window
from keptn_remedy.guardrails.matching import globs_of, in_order, mentioned
from keptn_remedy.guardrails.policy import (
    BUILT_IN,
    Blackout,
    Limit,
    Match,
    Policy,
    Rule,
    Storm,
    UndoRule,
)
from keptn_remedy.guardrails.rails import planned_now
from keptn_remedy.guardrails.units import counted, in_words
from keptn_remedy.guardrails.values import NOTIFY_KINDS

ORDER = (
    "Of the rules that match, the most specific one wins, setting by setting: first the one that"
    " names a target, then an action, a service, a stage, a project, labels; then a name before a"
    " glob; then the later one in the file."
)


@dataclass(frozen=True, slots=True)
class Part:
    """One rule in words: its name, what it applies to, and a sentence for each setting."""

    rule: str
    applies_to: str
    holds: tuple[str, ...]


def explain(policy: Policy) -> list[Part]:
    """The rules, those that win first; then the built-in defaults that no rule replaces for all."""
    winners_first = in_order(policy.rules)[::-1]
    parts = [Part(rule.name, whom(rule.match), _sentences(rule, policy)) for rule in winners_first]
    for_all = [rule for rule in policy.rules if not _restricts(rule.match)]
    if defaults := tuple(_defaults(for_all)):
        where = "what the rules above leave open" if policy.rules else "everything"
        parts.append(Part(BUILT_IN, where, defaults))
    return parts


def whom(match: Match) -> str:
    """What a rule applies to: `action scale, stage prod or staging`."""
    words = [f"{field} {_or(globs_of(match, field))}" for field in mentioned(match)]
    words += [f"label {name} {_or(globs)}" for name, globs in match.labels.items()]
    return ", ".join(words) or "everything"


def _restricts(match: Match) -> bool:
    return bool(mentioned(match) or match.labels)


def _sentences(rule: Rule, policy: Policy) -> tuple[str, ...]:
    found: list[str] = []
    for setting in Rule.model_fields:  # in the order of the reference
        if setting in rule.settings:
            value = getattr(rule, setting)
            found += (
                _LISTS[setting](value, policy) if setting in _LISTS else [_sentence(setting, value)]
            )
    return tuple(found)


def _sentence(setting: str, value: Any) -> str:
    return _WITHOUT[setting] if value is None else _WITH[setting](value)


def _decision(decision: str) -> str:
    return {
        "allow": "it may act",
        "deny": "it may not act: each execution is refused",
        "ignore": "it is ignored: Keptn gets no reply, as for an action that we don't have",
    }[decision]


def _mode(mode: str) -> str:
    return {
        "act": "it acts without approval",
        "dry-run": "it reports its plan and changes nothing",
        "approve": "it acts only after a person approved the plan",
    }[mode]


def _default(verdict: str) -> str:
    return f"without an answer in time it is {'denied' if verdict == 'deny' else 'approved'}"


def _refused(result: str) -> str:
    return f"a refusal has the result {result}: {_THEN[result]}"


def _failed(result: str) -> str:
    return f"a failure has the result {result}: {_THEN[result]}"


def _storm(storm: Storm) -> str:
    percent = f", or {storm.percent:g} % of its services," if storm.percent else ""
    targets, within = counted(storm.targets, "target"), in_words(storm.within_seconds)
    return f"at most {targets} of a stage{percent} are touched within {within}"


def _undo(undo: UndoRule) -> str:
    causes = ["when the sequence is aborted"] if undo.on_abort else []
    causes += ["when the problem closes"] if undo.on_closed else []
    causes += [f"{in_words(undo.after)} after its end"] if undo.after else []
    return f"it is undone {', '.join(causes)}" if causes else _WITHOUT["undo"]


def _notify(channels: Mapping[str, Sequence[str]]) -> str:
    if not channels:
        return _WITHOUT["notify"]
    told = [f"{name} ({_told(kinds)})" for name, kinds in channels.items()]
    return f"told on {', '.join(told)}"


def _told(kinds: Sequence[str]) -> str:
    return "everything" if len(kinds) == len(NOTIFY_KINDS) else ", ".join(kinds)


def _limits(limits: Sequence[Limit] | None, _: Policy) -> list[str]:
    return [_limit(limit) for limit in limits] if limits else ["no limit on how often it acts"]


def _limit(limit: Limit) -> str:
    same = " and ".join(limit.per)
    if limit.executions is None or limit.within is None:
        return f"no limit on how often it acts with the same {same}"
    often = counted(limit.executions, "execution")
    return f"at most {often} with the same {same} within {in_words(limit.within)}"


def _windows(windows: Iterable[Any] | None, policy: Policy) -> list[str]:
    if not windows:
        return ["at any hour"]
    shown = [
        str(Window.of(w.days, w.start, w.end, ZoneInfo(w.timezone or policy.timezone)))
        for w in windows
    ]
    return [f"it acts only {_or(shown)}"]


def _blackouts(blackouts: Iterable[Blackout] | None, policy: Policy) -> list[str]:
    if not blackouts:
        return ["on any date"]
    return [_blackout(blackout, policy.timezone) for blackout in blackouts]


def _blackout(blackout: Blackout, timezone: str) -> str:
    reason = f" ({blackout.reason})" if blackout.reason else ""
    last = f"{blackout.end}{' included' if blackout.end.is_date else ''}"
    return f"never from {blackout.start} to {last}, {blackout.timezone or timezone}{reason}"


def _zero(allowed: object) -> str:
    return "it may scale to 0" if allowed else "it never scales to 0"


def _replicas(number: int) -> str:
    return counted(number, "replica")


_THEN = {
    "fail": "the sequence stops here",
    "warning": "the sequence goes on, and its evaluation decides",
}
_WITH: Mapping[str, Callable[[Any], str]] = {
    "decision": _decision,
    "mode": _mode,
    "approve_within": lambda length: f"an approver has {in_words(length)}",
    "approval_default": _default,
    "cooldown": lambda length: f"at least {in_words(length)} between executions on a target",
    "once_within": lambda length: (
        f"the same action on the same target only once within {in_words(length)}"
    ),
    "suspend_after": lambda n: (
        f"after {counted(n, 'execution')} in a row that did not solve the problem, it is suspended"
        " until a person resumes it"
    ),
    "storm": _storm,
    "replicas_at_most": lambda n: (
        f"it never scales up beyond {_replicas(n)}, nor beyond KUBERNETES_MAX_REPLICAS"
    ),
    "replicas_at_least": lambda n: f"it never scales down below {_replicas(n)}",
    "zero_replicas": _zero,
    "replicas_step": lambda step: f"it scales by at most {step} in one execution",
    "cpu_at_most": lambda amount: f"no container gets more CPU than {amount}",
    "memory_at_most": lambda amount: f"no container gets more memory than {amount}",
    "cpu_step": lambda step: f"it changes a container's CPU by at most {step} in one execution",
    "memory_step": lambda step: (
        f"it changes a container's memory by at most {step} in one execution"
    ),
    "targets_at_most": lambda n: f"at most {counted(n, 'target')} in one execution",
    "at_once": lambda n: f"it waits while {planned_now(n)}",
    "settle": lambda length: f"it counts as running for {in_words(length)} after its end",
    "turn_within": lambda length: f"it waits up to {in_words(length)} for a free place",
    "on_refused": _refused,
    "on_failed": _failed,
    "notify": _notify,
    "undo": _undo,
}
_LISTS: Mapping[str, Callable[[Any, Policy], list[str]]] = {
    "at_most": _limits,
    "windows": _windows,
    "blackouts": _blackouts,
}
SETTINGS = _WITH.keys() | _LISTS.keys()
"""The settings that have words here."""

_WITHOUT: Mapping[str, str] = {
    "cooldown": "no cooldown between executions",
    "once_within": "no limit on repeating an action on a target",
    "suspend_after": "it is never suspended",
    "storm": "no limit on how much of a stage is touched",
    "replicas_at_most": "no limit to scaling up but KUBERNETES_MAX_REPLICAS",
    "replicas_at_least": "no limit to scaling down",
    "replicas_step": "no limit to the step by which it scales",
    "cpu_at_most": "no limit to a container's CPU but RESIZE_MOST_CPU",
    "memory_at_most": "no limit to a container's memory but RESIZE_MOST_MEMORY",
    "cpu_step": "no limit to the step of a container's CPU but RESIZE_STEP_CPU",
    "memory_step": "no limit to the step of a container's memory but RESIZE_STEP_MEMORY",
    "targets_at_most": "no limit to the targets of one execution",
    "at_once": "it does not wait for other executions",
    "settle": "it counts as running until its end",
    "notify": "nobody is told",
    "undo": "it is undone only by an order",
}


def _defaults(for_all: Sequence[Rule]) -> Iterator[str]:
    """The built-in defaults, without those that a rule for everything replaces."""
    replaced = {setting for rule in for_all for setting in rule.settings - {"at_most"}}
    said = {
        "decision": "it may act",
        "mode": "it acts without approval",
        "approve_within": "where a rule requires approval, an approver has 15m",
        "approval_default": _default("deny"),
        "at_most": "planned actions: at most 6 executions with the same target within 1h",
        "replicas_at_most": "it never scales up beyond 50 replicas, or KUBERNETES_MAX_REPLICAS",
        "zero_replicas": "it never scales to 0, unless KUBERNETES_ALLOW_ZERO is set",
        "at_once": f"planned actions: it waits while {planned_now(10)}",
        "turn_within": "it waits up to 5m for a free place",
        "on_refused": _refused("fail"),
        "on_failed": _failed("fail"),
        "notify": "told on the channels of REMEDY_NOTIFY",
        "undo": _WITHOUT["undo"],
    }
    if any(_replaces_limit(rule) for rule in for_all):
        replaced.add("at_most")
    return (sentence for setting, sentence in said.items() if setting not in replaced)


def _replaces_limit(rule: Rule) -> bool:
    if "at_most" not in rule.settings:
        return False
    return rule.at_most is None or any(limit.per == ("target",) for limit in rule.at_most)


def _or(words: Sequence[str]) -> str:
    return " or ".join((", ".join(words[:-1]), words[-1]) if len(words) > 1 else words)
