"""Every question that the rails ask of the history was foreseen, whatever the policy says."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from keptn_remedy.guardrails.foresight import foreseen
from keptn_remedy.guardrails.matching import Rules, Scope
from keptn_remedy.guardrails.policy import Policy
from keptn_remedy.guardrails.rails import Case, first_refusal
from keptn_remedy.journal import Alike, Count, Counted, Last, Pause

NOW = 1_000_000.0
SCOPE = Scope("sockshop", "production", "carts", "scale", target="deployment/carts")
POLICIES = (
    "{settle: 1m}",
    "{at_most: null}",
    "{cooldown: 5m, once_within: 1h}",
    "{suspend_after: 3, at_once: null}",
    "{storm: {targets: 5, percent: 30, within: 10m}}",
    "{at_most: [{executions: 3, within: 1h, per: [service]}]}",
    "{at_most: [{executions: 9, within: 1d, per: [action]}]}",
)


@dataclass
class Recorder:
    """A history in which all is just below its limit, and that keeps what it was asked."""

    now: float = NOW
    targets: set[str] = field(default_factory=set[str])
    counts: set[tuple[Counted, float]] = field(default_factory=set[tuple[Counted, float]])
    streaks: set[tuple[str, str]] = field(default_factory=set[tuple[str, str]])
    has_asked_unsettled: bool = False

    def pause(self) -> Pause | None:
        return None

    def count(self, since: float, alike: Alike, limit: int | None = None) -> int:
        self.counts.add((("executions", alike), since))
        return 0

    def admitted_at(self, since: float, alike: Alike, place: int) -> float:
        return since

    def last(self, target: str) -> Last | None:
        self.targets.add(target)
        return Last(1, "scale", NOW - 600, NOW - 500, NOW - 400)

    def execution_id(self, last: Last) -> str:
        return "earlier"

    def effects(self, since: float, project: str, stage: str, limit: int | None = None) -> int:
        self.counts.add((("effects", Alike(project=project, stage=stage)), since))
        return 1000

    def distinct(self, what: str, since: float, project: str, stage: str) -> frozenset[str]:
        return frozenset()

    def streak(self, action: str, target: str, context: str) -> int:
        self.streaks.add((action, target))
        return 0

    def unsettled(self, now: float) -> int:
        self.has_asked_unsettled = True
        return 0


def policy(settings: str) -> str:
    """A policy with one rule."""
    return f"version: 1\nrules: [{{name: mine, {settings[1:-1]}}}]"


@pytest.mark.parametrize("settings", POLICIES)
@pytest.mark.parametrize("planned", [True, False])
def test_what_is_asked_was_foreseen(settings: str, *, planned: bool) -> None:
    rules, scope = Rules(Policy.load(policy(settings))), SCOPE._replace(planned=planned)
    resolved = rules.resolve(scope)
    expected = foreseen([(scope, resolved)], rules.kinds)
    asked = Recorder()
    case = Case(scope, resolved, SCOPE.target or "", "a problem", NOW, services=10)
    assert first_refusal([case], asked) is None
    assert asked.targets <= set(expected.targets)
    assert asked.counts <= {(count.counted, NOW - count.within) for count in expected.counts}
    assert asked.streaks <= set(expected.streaks)
    assert asked.has_asked_unsettled <= expected.unsettled
    assert {count.counted for count in expected.counts} <= set(expected.counted_in)


def test_an_effect_is_part_of_what_other_rules_count() -> None:
    """They don't ask about this execution, and it takes a place in what they count all the same."""
    rules = Rules(
        Policy.load(
            "version: 1\nrules:"
            "\n- {name: restarts, match: {action: restart}, storm: {targets: 2, within: 1h},"
            " at_most: [{executions: 1, within: 1h, per: [stage]}]}"
        )
    )
    stage = Alike(project="sockshop", stage="production")
    found = foreseen([(SCOPE, rules.resolve(SCOPE))], rules.kinds)
    assert set(found.counted_in) == {
        ("executions", Alike(target="deployment/carts")),
        ("executions", stage),
        ("effects", stage),
    }
    assert found.counts == (Count(("executions", Alike(target="deployment/carts")), 3600.0, 6),)


def test_the_questions_of_a_plan_are_those_about_all_its_targets() -> None:
    rules, other = Rules(None), SCOPE._replace(target="deployment/orders")
    both = foreseen([(each, rules.resolve(each)) for each in (SCOPE, other)], rules.kinds)
    assert both.targets == ("deployment/carts", "deployment/orders")
    assert len(both.counts) == len(both.counted_in) == 2
    assert both.unsettled
