"""Which rule wins, setting by setting, and what holds where none says anything."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keptn_remedy.guardrails import matching
from keptn_remedy.guardrails.matching import Resolved, Rules, Scope, alike_in
from keptn_remedy.guardrails.policy import BUILT_IN, Match, Policy, Rule
from keptn_remedy.journal import Alike

HERE = Scope(
    project="shop",
    stage="prod",
    service="carts",
    action="toggle-feature",
    labels=(("team", "checkout"), ("tier", "1")),
    planned=True,
    target="flag shop/Campaign",
)


def rules(*entries: str) -> Rules:
    numbered = [f"- {{name: '{number}', {entry}}}" for number, entry in enumerate(entries, 1)]
    return Rules(Policy.load("\n".join(["version: 1", "rules:", *numbered])))


def here(*entries: str) -> Resolved:
    return rules(*entries).resolve(HERE)


def matches(match: str, scope: Scope = HERE) -> bool:
    resolved = rules(f"match: {{{match}}}, decision: deny").resolve(scope)
    return resolved.decision == "deny"


# What a rule matches


@pytest.mark.parametrize(
    "match",
    [
        "project: shop",
        "stage: prod",
        "stage: p*",
        "stage: 'pro?'",
        "stage: '[a-z]rod'",
        "stage: [dev, prod]",
        "service: [x, 'cart*']",
        "action: toggle-feature",
        "action: Toggle_Feature",
        "action: togglefeature",
        "action: 'Toggle-*'",
        "action: 'toggle-[a-f]eature'",
        "target: 'flag shop/*'",
        "labels: {team: checkout}",
        "labels: {team: 'check*', tier: ['1', '2']}",
        "project: '*', stage: '*', service: '*', action: '*', target: '*'",
        "project: shop, stage: prod, service: carts, action: toggle-feature",
    ],
)
def test_a_rule_matches(match: str) -> None:
    assert matches(match)


@pytest.mark.parametrize(
    "match",
    [
        "project: Shop",
        "stage: pro",
        "stage: 'prod?'",
        "service: 'Cart*'",
        "action: toggle",
        "action: 'scale*'",
        "target: shop/Campaign",
        "labels: {team: shipping}",
        "labels: {Team: checkout}",
        "labels: {team: checkout, owner: '*'}",
        "project: shop, stage: dev",
    ],
)
def test_a_rule_does_not_match(match: str) -> None:
    assert not matches(match)


def test_a_rule_about_targets_waits_for_a_target() -> None:
    unplanned = HERE._replace(target=None)
    assert not matches("target: 'flag*'", unplanned)
    assert matches("target: '*'", unplanned)


# Which rule wins


@pytest.mark.parametrize(
    ("loser", "winner"),
    [
        ("labels: {team: checkout}", "project: 's*'"),
        ("project: shop, labels: {team: checkout}", "stage: 'p*'"),
        ("stage: prod, project: shop", "service: 'c*'"),
        ("service: carts, stage: prod, project: shop", "action: 't*'"),
        ("action: toggle-feature, service: carts, stage: prod", "target: 'flag*'"),
        ("stage: 'pro*'", "stage: prod"),
        ("stage: [prod, 'x*']", "stage: [prod, dev]"),
        ("stage: prod", "stage: prod, labels: {team: '*'}"),
        ("labels: {team: checkout}", "labels: {team: '*', tier: '*'}"),
        ("labels: {team: 'check*'}", "labels: {team: checkout}"),
        ("action: 'toggle*', service: carts", "action: toggle-feature, service: 'c*'"),
        ("project: '*'", "labels: {team: '*'}"),
    ],
)
def test_the_more_specific_rule_wins_wherever_it_stands(loser: str, winner: str) -> None:
    lesser, greater = f"match: {{{loser}}}, settle: 1", f"match: {{{winner}}}, settle: 2"
    assert here(lesser, greater).settle == 2
    assert here(greater, lesser).settle == 2


def test_of_equally_specific_rules_the_later_one_wins() -> None:
    assert here("match: {stage: 'p*'}, settle: 1", "match: {stage: '*d'}, settle: 2").settle == 2
    assert here("settle: 1", "match: {stage: '*'}, settle: 2").settle == 2


def test_rules_are_laid_over_each_other_setting_by_setting() -> None:
    resolved = here("match: {stage: prod}, cooldown: 1h, settle: 1m", "settle: 2m, at_once: 3")
    assert (resolved.cooldown, resolved.settle, resolved.at_once) == (3600, 60, 3)
    assert resolved.rule("cooldown") == resolved.rule("settle") == "1"
    assert resolved.rule("at_once") == "2"
    assert resolved.rule("turn_within") == BUILT_IN


def test_a_setting_of_several_parts_is_replaced_as_a_whole() -> None:
    resolved = here("undo: {on_abort: true, after: 1h}", "match: {stage: prod}, undo: {after: 5m}")
    assert not resolved.undo_on_abort
    assert resolved.undo_after == 300


FIELDS = ("project", "stage", "service", "action", "target")
PATTERNS = {
    "project": ["shop", "s*", "sh?p"],
    "stage": ["prod", "p*", "pro?"],
    "service": ["carts", "c*", "cart?"],
    "action": ["toggle-feature", "toggle*"],
    "target": ["flag shop/Campaign", "flag*"],
    "team": ["checkout", "c*"],
    "tier": ["1", "?"],
}


@st.composite
def specific_pairs(draw: st.DrawFn) -> tuple[Match, Match]:
    """Two matches, of which the second is strictly more specific.

    It has all fields of the first, some with names instead of globs, and others besides.
    """
    less = {
        name: draw(st.sampled_from(patterns))
        for name, patterns in PATTERNS.items()
        if draw(st.booleans())
    }
    more = {name: PATTERNS[name][0] if draw(st.booleans()) else less[name] for name in less}
    for name in PATTERNS.keys() - less.keys():
        if draw(st.booleans()):
            more[name] = draw(st.sampled_from(PATTERNS[name]))
    return _match(less), _match(more)


def _match(patterns: dict[str, str]) -> Match:
    fields = {name: patterns[name] for name in FIELDS if name in patterns}
    labels = {name: patterns[name] for name in ("team", "tier") if name in patterns}
    return Match.model_validate({**fields, "labels": labels})


@given(specific_pairs(), st.booleans(), st.lists(st.integers(0, 3), max_size=3))
def test_a_strictly_more_specific_rule_wins_in_any_order(
    pair: tuple[Match, Match], is_first: bool, noise: list[int]
) -> None:
    less, more = pair
    if less == more:
        return
    two = [Rule(name="less", match=less, at_once=1), Rule(name="more", match=more, at_once=2)]
    others = [Rule(name=f"other {n}", suspend_after=n + 1) for n in set(noise)]
    entries = [*two[::-1], *others] if is_first else [*others, *two]
    resolved = Rules(Policy(version=1, rules=tuple(entries))).resolve(HERE)
    assert resolved.at_once == 2
    assert resolved.rule("at_once") == "more"


# Rates


def test_a_rate_replaces_the_one_with_the_same_per_and_leaves_the_others() -> None:
    resolved = here(
        "at_most: [{executions: 9, within: 1h, per: [target, action]},"
        " {executions: 5, within: 1d, per: stage}]",
        "match: {stage: prod}, at_most: [{executions: 2, within: 1m, per: [action, target]}]",
    )
    assert {limit[:-1] for limit in resolved.at_most} == {
        (6, 3600, ("target",), BUILT_IN),
        (2, 60, ("action", "target"), "2"),
        (5, 86_400, ("stage",), "1"),
    }


@pytest.mark.parametrize(
    ("per", "counted"),
    [
        ("target", Alike(target="flag")),
        ("action", Alike(action="turn")),
        ("stage", Alike(project="sockshop", stage="prod")),
        ("service", Alike(project="sockshop", stage="prod", service="carts")),
    ],
)
def test_a_stage_is_one_of_a_project_and_a_service_one_of_a_stage(per: str, counted: Alike) -> None:
    scope = Scope("sockshop", "prod", "carts", "turn", target="flag")
    assert alike_in(scope, (per,)) == counted


def test_null_lifts_every_rate_of_less_specific_rules() -> None:
    resolved = here("match: {stage: prod}, at_most: null")
    assert resolved.at_most == ()
    assert resolved.rule("at_most") == "1"


def test_a_rate_of_null_lifts_the_one_with_the_same_per() -> None:
    assert here("at_most: [{executions: null, per: target}]").at_most == ()
    assert len(here("at_most: [{executions: null, per: stage}]").at_most) == 1


# What is built in


def test_without_a_policy_the_built_in_defaults_hold() -> None:
    resolved = Rules(None).resolve(HERE)
    assert resolved.decision == "allow"
    assert resolved.mode == "act"
    assert [*resolved.at_most] == [(6, 3600, ("target",), BUILT_IN, Alike(target=HERE.target))]
    assert resolved.at_once == 10
    assert (resolved.replicas_at_most, resolved.zero_replicas) == (50, False)
    assert (resolved.approve_within, resolved.approval_default) == (900, "deny")
    assert (resolved.settle, resolved.turn_within) == (0, 300)
    assert (resolved.on_refused, resolved.on_failed) == ("fail", "fail")
    assert not resolved.undo_on_abort
    assert not resolved.undo_on_closed
    assert resolved.undo_after is None
    assert not resolved.windows
    assert not resolved.blackouts
    unset = ("cooldown", "once_within", "suspend_after", "storm", "replicas_step")
    assert [getattr(resolved, name) for name in unset] == [None] * len(unset)


def test_plain_actions_are_held_to_no_rates_of_the_built_in_defaults() -> None:
    plain = Rules(None).resolve(HERE._replace(planned=False))
    assert plain.at_most == ()
    assert plain.at_once is None


def test_rules_hold_for_plain_actions_too() -> None:
    found = rules("at_once: 3, at_most: [{executions: 2, within: 1m, per: target}]")
    plain = found.resolve(HERE._replace(planned=False))
    assert plain.at_once == 3
    assert [*plain.at_most] == [(2, 60, ("target",), "1", Alike(target=HERE.target))]


def test_the_caps_of_the_environment_are_built_in() -> None:
    resolved = Rules(None, replicas_at_most=7, zero_replicas=True).resolve(HERE)
    assert (resolved.replicas_at_most, resolved.zero_replicas) == (7, True)


@pytest.mark.parametrize(
    ("setting", "off"),
    [
        ("cooldown: 5m", None),
        ("once_within: 5m", None),
        ("suspend_after: 3", None),
        ("storm: {targets: 3, within: 5m}", None),
        ("replicas_at_most: 5", None),
        ("replicas_at_least: 5", None),
        ("replicas_step: x2", None),
        ("targets_at_most: 5", None),
        ("windows: [{from: 08:00, to: 09:00}]", ()),
        ("blackouts: [{from: 2026-12-23, to: 2026-12-23}]", ()),
        ("at_once: 5", None),
        ("settle: 2m", 0.0),
    ],
)
def test_null_switches_off_what_a_less_specific_rule_sets(setting: str, off: object) -> None:
    name = setting.partition(":")[0]
    resolved = here(setting, f"match: {{stage: prod}}, {name}: null")
    assert getattr(resolved, name) == off
    assert resolved.rule(name) == "2"


def test_null_switches_undoing_off() -> None:
    resolved = here("undo: {on_abort: true}", "match: {stage: prod}, undo: null")
    assert not resolved.undo_on_abort


# All of them


def test_rules_that_say_nothing_are_the_defaults() -> None:
    assert Rules(None).is_default
    assert Rules(Policy.load("version: 1")).is_default
    assert not rules("settle: 1m").is_default


def test_no_more_scopes_are_remembered_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(matching, "REMEMBERED", 3)
    found = rules("match: {target: 'a*'}, settle: 1")
    for number in range(9):
        assert found.resolve(HERE._replace(target=f"a{number}")).settle == 1
    assert found._cached.cache_info().currsize == 3


def test_labels_that_no_rule_asks_for_cost_no_look_at_the_rules() -> None:
    """Each event has the address of its own problem among them."""
    found_by = rules("match: {labels: {team: shop}}, settle: 1")
    labels = [(("Problem URL", f"https://monitoring.example/{n}"),) for n in range(3)]
    found = [found_by.resolve(HERE._replace(labels=each)) for each in labels]
    assert found[0] is found[1] is found[2]
    assert found[0].settle == 0
    team = (("Problem URL", "https://monitoring.example/4"), ("team", "shop"))
    assert found_by.resolve(HERE._replace(labels=team)).settle == 1
