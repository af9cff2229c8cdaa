"""Which rules apply to an execution: the most specific one wins, setting by setting."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from keptn_remedy import registry
from keptn_remedy.guardrails.calendar import Blackout, Window
from keptn_remedy.guardrails.policy import BUILT_IN, Match, Policy, Rule, Storm, UndoRule
from keptn_remedy.guardrails.units import Amount, Step
from keptn_remedy.guardrails.values import NotifyKind
from keptn_remedy.journal import Alike, Kind

REMEMBERED = 10_000
"""The number of scopes whose resolved rules are cached."""
FIELDS = ("target", "action", "service", "stage", "project")
"""From the most specific to the least specific; labels come after them."""

_GLOB = re.compile(r"[*?\[]")
_OFF: Mapping[str, Any] = {
    "windows": (),
    "blackouts": (),
    "settle": 0.0,
    "notify": {},
    "undo": UndoRule(),
}

Matcher = Callable[[str], object]


class Scope(NamedTuple):
    """What rules can match of an execution.

    `planned`: its action is a planned one. `target` is None until there is a plan. `labels` are
    sorted by name.
    """

    project: str
    stage: str
    service: str
    action: str
    labels: tuple[tuple[str, str], ...] = ()
    planned: bool = True
    target: str | None = None


class Rate(NamedTuple):
    """At most `executions` within the time, counted over those with the same values of `per`.

    `alike` holds these values for one scope.
    """

    executions: int
    within_seconds: float
    per: tuple[str, ...]
    rule: str
    alike: Alike = Alike()


@dataclass(frozen=True, slots=True, eq=False)
class Resolved:
    """The settings for one scope. None and `()` mean no limit; durations are in seconds. Each is
    equal to itself alone, so that what is worked out for it can be kept by it.
    """

    decision: Literal["allow", "deny", "ignore"]
    mode: Literal["act", "dry-run", "approve"]
    approve_within: float
    approval_default: Literal["deny", "approve"]
    cooldown: float | None
    once_within: float | None
    at_most: tuple[Rate, ...]
    suspend_after: int | None
    storm: Storm | None
    replicas_at_most: int | None
    replicas_at_least: int | None
    zero_replicas: bool
    replicas_step: Step | None
    cpu_at_most: Amount | None
    memory_at_most: Amount | None
    cpu_step: Step | None
    memory_step: Step | None
    targets_at_most: int | None
    windows: tuple[Window, ...]
    blackouts: tuple[Blackout, ...]
    at_once: int | None
    settle: float
    turn_within: float
    on_refused: Literal["fail", "warning"]
    on_failed: Literal["fail", "warning"]
    notify: Mapping[str, tuple[NotifyKind, ...]] | None
    """What each channel is told; None: what REMEDY_NOTIFY says."""
    undo: UndoRule
    set_by: Mapping[str, str]
    """The rule that set each setting; built-in ones are not in it."""

    def rule(self, setting: str) -> str:
        """The name of the rule that set a setting."""
        return self.set_by.get(setting, BUILT_IN)

    @property
    def undo_on_abort(self) -> bool:
        return self.undo.on_abort

    @property
    def undo_on_closed(self) -> bool:
        return self.undo.on_closed

    @property
    def undo_after(self) -> float | None:
        return self.undo.after


class Rules:
    """The rules of a policy on top of the built-in defaults.

    `names` are the names and aliases of each action, by its name. `label_names` are the labels that
    rules match, `kinds` what any of the rules counts.
    """

    def __init__(
        self,
        policy: Policy | None,
        *,
        replicas_at_most: int = 50,
        zero_replicas: bool = False,
        names: Mapping[str, tuple[str, ...]] | None = None,
    ) -> None:
        rules = policy.rules if policy else ()
        self.is_default = not rules
        zone = policy.timezone if policy else "UTC"
        self._in_order = [_Compiled(rule, zone, names or {}) for rule in in_order(rules)]
        self._base = _base(replicas_at_most, zero_replicas=zero_replicas)
        self.label_names = {name for rule in rules for name in rule.match.labels}
        self.may_ignore = any(rule.decision == "ignore" for rule in rules)
        self.asks_for_services = any(rule.storm and rule.storm.percent for rule in rules)
        self.may_arm_undos = any(rule.undo is not None for rule in rules)
        self.kinds = _kinds(rules)
        self._cached = lru_cache(REMEMBERED)(self._resolve)

    def resolve(self, scope: Scope) -> Resolved:
        """The settings for the scope."""
        # Labels hold the problem's URL: with all of them, every event would be a scope of its own.
        if scope.labels:
            labels = tuple(label for label in scope.labels if label[0] in self.label_names)
            scope = scope._replace(labels=labels)
        return self._cached(scope)

    def _resolve(self, scope: Scope) -> Resolved:
        values, set_by = dict(self._base), dict[str, str]()
        rates = {rate.per: rate for rate in _BASE_RATES}
        if not scope.planned:
            values["at_once"], rates = None, {}
        for rule in self._in_order:
            if rule.matches(scope):
                values |= rule.values
                set_by |= dict.fromkeys(rule.rule.settings, rule.rule.name)
                _merge(rates, rule.rule)
        at_most = tuple(it._replace(alike=alike_in(scope, it.per)) for it in rates.values())
        return Resolved(**values, at_most=at_most, set_by=set_by)


class _Compiled:
    """A rule with its globs compiled."""

    def __init__(self, rule: Rule, zone: str, names: Mapping[str, tuple[str, ...]]) -> None:
        self.rule = rule
        self._names = names
        self.values = _values(rule, zone)
        self._fields = {field: _matchers(rule.match, field) for field in mentioned(rule.match)}
        self._labels = {
            name: [_glob(glob) for glob in globs] for name, globs in rule.match.labels.items()
        }

    def matches(self, scope: Scope) -> bool:
        for field, matchers in self._fields.items():
            if not any(_any(matchers, value) for value in self._comparable(scope, field)):
                return False
        if not self._labels:
            return True
        labels = dict(scope.labels)
        return all(
            name in labels and _any(matchers, labels[name])
            for name, matchers in self._labels.items()
        )

    def _comparable(self, scope: Scope, field: str) -> Iterable[str]:
        if field == "action":
            return map(registry.key, self._names.get(scope.action, (scope.action,)))
        value: str | None = getattr(scope, field)
        return () if value is None else (value,)


def alike_in(scope: Scope, per: Iterable[str]) -> Alike:
    """The values to count by, and those that make them unique."""
    return Alike(**{name: getattr(scope, name) for name in unique_names(per)})


def unique_names(per: Iterable[str]) -> tuple[str, ...]:
    """What is counted by, and what makes it unique, in the order of `Alike`.

    A stage belongs to a project, a service to a stage.
    """
    names = set(per)
    if "service" in names:
        names |= {"project", "stage"}
    elif "stage" in names:
        names.add("project")
    return tuple(name for name in Alike._fields if name in names)


def in_order(rules: Iterable[Rule]) -> list[Rule]:
    """The rules from the least specific to the most specific; equal ones in the file's order."""
    return sorted(rules, key=lambda rule: _rank(rule.match))


def mentioned(match: Match) -> tuple[str, ...]:
    """The fields that restrict what matches: `*` doesn't."""
    return tuple(
        field for field in FIELDS if getattr(match, field) and "*" not in globs_of(match, field)
    )


def globs_of(match: Match, field: str) -> tuple[str, ...]:
    """The globs of a field."""
    found: tuple[str, ...] = getattr(match, field)
    return found


def _rank(match: Match) -> tuple[int, ...]:
    """How specific it is: first the fields it mentions, then those of them without a glob."""
    fields = mentioned(match)
    names = [field in fields for field in FIELDS]
    plain = [field in fields and not has_glob(globs_of(match, field)) for field in FIELDS]
    plain_labels = sum(not has_glob(globs) for globs in match.labels.values())
    return (*map(int, names), len(match.labels), *map(int, plain), plain_labels)


def has_glob(globs: Iterable[str]) -> bool:
    """Whether one of them is a pattern, not a plain name."""
    return any(_GLOB.search(glob) for glob in globs)


def _matchers(match: Match, field: str) -> list[Matcher]:
    globs = globs_of(match, field)
    return [_glob(_action_glob(glob) if field == "action" else glob) for glob in globs]


def _glob(glob: str) -> Matcher:
    return re.compile(fnmatch.translate(glob)).match if _GLOB.search(glob) else glob.__eq__


def _action_glob(glob: str) -> str:
    """The glob in the form in which the names of actions are compared."""
    parts = re.split(r"(\[[^\]]*\])", glob.lower())
    return "".join(part if part.startswith("[") else registry.key(part) for part in parts)


def _any(matchers: Iterable[Matcher], value: str) -> bool:
    return any(matcher(value) for matcher in matchers)


def _values(rule: Rule, zone: str) -> dict[str, Any]:
    """What a rule sets, as `Resolved` has it. `_merge` handles `at_most`."""
    found = {name: getattr(rule, name) for name in rule.settings - {"at_most"}}
    if rule.windows:
        found["windows"] = tuple(
            Window.of(w.days, w.start, w.end, ZoneInfo(w.timezone or zone)) for w in rule.windows
        )
    if rule.blackouts:
        found["blackouts"] = tuple(
            Blackout.of(b.start.start, b.end.end, ZoneInfo(b.timezone or zone), b.reason)
            for b in rule.blackouts
        )
    return {name: _OFF.get(name) if value is None else value for name, value in found.items()}


def _merge(rates: dict[tuple[str, ...], Rate], rule: Rule) -> None:
    if "at_most" in rule.settings and rule.at_most is None:
        rates.clear()
    for limit in rule.at_most or ():
        per = tuple(sorted(limit.per))
        if limit.executions is None or limit.within is None:
            rates.pop(per, None)
        else:
            rates[per] = Rate(limit.executions, limit.within, per, rule.name)


def _kinds(rules: Sequence[Rule]) -> frozenset[Kind]:
    limits = [limit for rule in rules for limit in rule.at_most or ()]
    counted = {("target",), *(limit.per for limit in limits)}
    if any(rule.once_within is not None for rule in rules):
        counted.add(("action", "target"))
    kinds: set[Kind] = {("executions", unique_names(per)) for per in counted}
    if any(rule.storm for rule in rules):
        kinds.add(("effects", unique_names(("stage",))))
    return frozenset(kinds)


_BASE_RATES = (Rate(6, 3600.0, ("target",), BUILT_IN),)


def _base(replicas_at_most: int, *, zero_replicas: bool) -> dict[str, Any]:
    """The built-in defaults; those of `at_most` are `_BASE_RATES`."""
    unset = dict.fromkeys(set(Rule.model_fields) - {"name", "match", "at_most"})
    defaults = {name: Rule.model_fields[name].default for name in unset}
    return {
        **defaults,
        **_OFF,
        "notify": None,
        "at_once": 10,
        "replicas_at_most": replicas_at_most,
        "zero_replicas": zero_replicas,
    }


class InForce(Protocol):
    """Holds the rules in force. They may be exchanged at any time."""

    @property
    def rules(self) -> Rules: ...


@dataclass(frozen=True, slots=True)
class Fixed:
    """Rules that stay in force."""

    rules: Rules
