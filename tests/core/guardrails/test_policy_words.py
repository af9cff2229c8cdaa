"""A policy in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from keptn_remedy.guardrails import words
from keptn_remedy.guardrails.policy import BUILT_IN, Policy, Rule
from keptn_remedy.guardrails.words import Part, explain

EXAMPLE = Path(__file__).parents[3] / "examples" / "policy.yaml"


def parts(*entries: str) -> list[Part]:
    numbered = [f"- {{name: '{number}', {entry}}}" for number, entry in enumerate(entries, 1)]
    return explain(
        Policy.load("\n".join(["version: 1", "timezone: Europe/Berlin", "rules:", *numbered]))
    )


def sentences(settings: str) -> tuple[str, ...]:
    return parts(settings)[0].holds


def test_the_rules_come_in_the_order_in_which_they_win() -> None:
    explained = parts(
        "match: {stage: prod}, settle: 1",
        "match: {action: scale}, settle: 1",
        "settle: 1",
        "match: {stage: prod}, settle: 2",
    )
    assert [part.rule for part in explained] == ["2", "4", "1", "3", BUILT_IN]


@pytest.mark.parametrize(
    ("match", "whom"),
    [
        ("{}", "everything"),
        ("{project: '*', stage: [dev, '*']}", "everything"),
        ("{stage: prod, service: [a, b, 'c*']}", "service a, b or c*, stage prod"),
        ("{action: scale, target: 'x/*'}", "target x/*, action scale"),
        ("{labels: {team: [a, b], tier: '1'}}", "label team a or b, label tier 1"),
    ],
)
def test_it_says_for_whom_a_rule_is(match: str, whom: str) -> None:
    assert parts(f"match: {match}, settle: 1")[0].applies_to == whom


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ("decision: deny", "it may not act: each execution is refused"),
        ("mode: approve", "it acts only after a person approved the plan"),
        ("approval_default: approve", "without an answer in time it is approved"),
        ("cooldown: 90", "at least 1m30s between executions on a target"),
        ("cooldown: null", "no cooldown between executions"),
        (
            "at_most: [{executions: 1, within: 1h, per: target}]",
            "at most 1 execution with the same target within 1h",
        ),
        (
            "at_most: [{executions: null, per: [stage, action]}]",
            "no limit on how often it acts with the same stage and action",
        ),
        (
            "storm: {targets: 5, percent: 33, within: 10m}",
            "at most 5 targets of a stage, or 33 % of its services, are touched within 10m",
        ),
        ("replicas_step: 50%", "it scales by at most 50% in one execution"),
        ("cpu_at_most: 1500m", "no container gets more CPU than 1500m"),
        ("memory_at_most: 2Gi", "no container gets more memory than 2Gi"),
        ("cpu_step: x2", "it changes a container's CPU by at most x2 in one execution"),
        ("memory_step: +30%", "it changes a container's memory by at most 30% in one execution"),
        ("at_once: 1", "it waits while 1 planned execution is running or settling"),
        (
            "replicas_at_most: 80",
            "it never scales up beyond 80 replicas, nor beyond KUBERNETES_MAX_REPLICAS",
        ),
        ("zero_replicas: true", "it may scale to 0"),
        (
            "windows: [{days: [sat, fri, sun], from: 22:00, to: 06:00}, {from: 1:00, to: 24:00}]",
            "it acts only fri-sun 22:00-06:00 Europe/Berlin or daily 01:00-24:00 Europe/Berlin",
        ),
        ("windows: null", "at any hour"),
        (
            "blackouts: [{from: 2026-12-23, to: 2027-01-02T12:00, reason: Yule, timezone: UTC}]",
            "never from 2026-12-23 to 2027-01-02 12:00, UTC (Yule)",
        ),
        (
            "on_refused: warning",
            "a refusal has the result warning: the sequence goes on, and its evaluation decides",
        ),
        (
            "undo: {on_abort: true, after: 30m}",
            "it is undone when the sequence is aborted, 30m after its end",
        ),
        ("undo: {}", "it is undone only by an order"),
        ("notify: [slack, pager]", "told on slack (everything), pager (everything)"),
        ("notify: {pager: [approval, failed]}", "told on pager (approval, failed)"),
        ("notify: []", "nobody is told"),
        ("notify: null", "nobody is told"),
    ],
)
def test_a_setting_is_a_sentence(settings: str, sentence: str) -> None:
    assert sentences(settings) == (sentence,)


@pytest.mark.parametrize(
    "setting", [name for name, field in Rule.model_fields.items() if field.default is None]
)
def test_each_setting_that_may_be_null_has_a_sentence_for_it(setting: str) -> None:
    assert sentences(f"{setting}: null")[0]


@pytest.mark.parametrize("setting", sorted(set(Rule.model_fields) - {"name", "match"}))
def test_each_setting_has_a_sentence(setting: str) -> None:
    assert setting in words.SETTINGS


def test_what_is_built_in_is_reported_as_far_as_it_still_holds() -> None:
    def built_in(*entries: str) -> str:
        return " ".join(parts(*entries)[-1].holds)

    assert "6 executions" in built_in("match: {stage: prod}, at_most: null")
    assert "6 executions" in built_in("at_most: [{executions: 1, within: 1h, per: action}]")
    assert "6 executions" not in built_in("at_most: null")
    assert "6 executions" not in built_in("at_most: [{executions: 1, within: 1h, per: target}]")
    assert "10 planned" not in built_in("match: {stage: '*'}, at_once: 5")


def test_a_policy_without_rules_tells_what_is_built_in() -> None:
    (part,) = explain(Policy.load("version: 1"))
    assert (part.rule, part.applies_to) == (BUILT_IN, "everything")
