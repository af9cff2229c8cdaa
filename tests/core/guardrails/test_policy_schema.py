"""The JSON Schema of a policy describes what the file accepts, and the reference names it all."""

from __future__ import annotations

from pathlib import Path

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no stubs

from keptn_remedy.guardrails.policy import KEYS, Policy, PolicyError, Rule, json_schema
from keptn_remedy.support.reading import Document

ROOT = Path(__file__).parents[3]
REFERENCE = (ROOT / "docs" / "guard-rails.md").read_text("utf-8")
NOT_NULL = (
    "decision",
    "mode",
    "approve_within",
    "approval_default",
    "zero_replicas",
    "turn_within",
    "on_refused",
    "on_failed",
)
SETTINGS = sorted(set(Rule.model_fields) - {"name", "match"})


def policy(rule: str) -> str:
    return f"version: 1\nrules:\n- {{name: one, {rule}}}"


def schema_accepts(text: str) -> bool:
    return bool(Draft202012Validator(json_schema()).is_valid(Document(text).value))


def file_accepts(text: str) -> bool:
    try:
        Policy.load(text)
    except PolicyError:
        return False
    return True


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(json_schema())


def test_the_example_satisfies_the_schema() -> None:
    assert schema_accepts((ROOT / "examples" / "policy.yaml").read_text("utf-8"))


@pytest.mark.parametrize(
    "settings",
    [
        "cooldown: 5m",
        "cooldown: 1d2h3m4s",
        "cooldown: 90",
        "cooldown: 0.5",
        "settle: 0",
        "settle: 0s",
        "turn_within: 0",
        "replicas_step: x2",
        "replicas_step: x1.5",
        "replicas_step: 50%",
        "replicas_step: 5",
        "replicas_step: +50%",
        "cpu_at_most: 2",
        "cpu_at_most: 0.5",
        "cpu_at_most: 1500m",
        "memory_at_most: 2Gi",
        "memory_at_most: 1e9",
        "cpu_step: x2",
        "memory_step: +30%",
        "mode: dry-run, match: {stage: prod, service: [a, b*], labels: {team: [x, y]}}",
        "at_most: [{executions: 3, within: 1h, per: [action, target]}]",
        "at_most: [{executions: 3, within: 1h, per: service}]",
        "at_most: [{executions: null, per: target}]",
        "storm: {targets: 5, within: 10m}",
        "storm: {targets: 5, percent: 33.5, within: 10m}",
        "windows: [{from: 08:00, to: 24:00, days: sun, timezone: Europe/Berlin}]",
        "windows: [{from: 8:00, to: 6:00, days: [mon, tue]}]",
        "blackouts: [{from: 2026-12-23, to: 2027-01-02T12:00, reason: Christmas}]",
        "blackouts: [{from: 2026-12-23 08:00, to: 2026-12-23 09:00:30}]",
        "undo: {on_abort: true, on_closed: false, after: 30m}",
        "undo: {}",
        "notify: slack",
        "notify: [slack, pager]",
        "notify: []",
        "notify: {slack: failed, pager: [approval, suspended]}",
        *(f"{setting}: null" for setting in SETTINGS if setting not in NOT_NULL),
    ],
)
def test_file_and_schema_accept(settings: str) -> None:
    text = policy(settings)
    assert schema_accepts(text)
    assert file_accepts(text)


@pytest.mark.parametrize(
    "settings",
    [
        "cooldwon: 5m",
        "cooldown: five",
        "cooldown: ''",
        "cooldown: m",
        "cooldown: 0m",
        "cooldown: -5",
        "cooldown: 1m1h",
        "cooldown: 99999999",
        "cooldown: true",
        "settle: -1",
        "replicas_step: 2x",
        "replicas_step: 0",
        "replicas_step: 1.5",
        "cpu_at_most: 0",
        "cpu_at_most: '0'",
        "cpu_at_most: '0e3'",
        "cpu_at_most: true",
        "cpu_at_most: -1",
        "memory_at_most: 2GB",
        "memory_at_most: 2 Gi",
        "cpu_step: 2",
        "memory_step: 512Mi",
        "match: {stage: }, mode: act",
        "match: {stage: ''}, mode: act",
        "match: {stage: []}, mode: act",
        "match: {stage: 5}, mode: act",
        "match: {stages: x}, mode: act",
        "match: {labels: [x]}, mode: act",
        "at_most: []",
        "at_most: {executions: 3, within: 1h, per: target}",
        "at_most: [{executions: 3, per: target}]",
        "at_most: [{executions: 3, within: null, per: target}]",
        "at_most: [{executions: 3, within: 1h}]",
        "at_most: [{executions: 3, within: 1h, per: host}]",
        "at_most: [{executions: 3, within: 1h, per: []}]",
        "storm: {percent: 33, within: 10m}",
        "storm: {targets: 5, percent: 133, within: 10m}",
        "windows: []",
        "windows: [{from: 08:00}]",
        "windows: [{from: 08:00, to: 25:00}]",
        "windows: [{from: 08:00, to: 18:00, days: []}]",
        "windows: [{from: 08:00, to: 18:00, days: [noday]}]",
        "blackouts: [{from: 23.12.2026, to: 24.12.2026}]",
        "blackouts: [{from: 2026-12-23}]",
        "undo: true",
        "notify: 5",
        "notify: [5]",
        "notify: {slack: everything}",
        "notify: {slack: []}",
        "zero_replicas: no",
        "at_once: '5'",
        "at_once: 2.5",
        "suspend_after: 51",
        *(f"{setting}: null" for setting in NOT_NULL),
    ],
)
def test_file_and_schema_refuse(settings: str) -> None:
    text = policy(settings)
    assert not schema_accepts(text)
    assert not file_accepts(text)


@pytest.mark.parametrize("text", ["rules: []", "version: 2", "version: '1'", "version: 1\nx: 1"])
def test_file_and_schema_refuse_as_a_whole(text: str) -> None:
    assert not schema_accepts(text)
    assert not file_accepts(text)


def test_each_setting_is_described_in_the_schema() -> None:
    models = [json_schema(), *json_schema()["$defs"].values()]
    undescribed = [
        name
        for model in models
        for name, entry in model["properties"].items()
        if "description" not in entry
    ]
    assert undescribed == []


@pytest.mark.parametrize("name", sorted({name for names in KEYS.values() for name in names}))
def test_each_setting_is_in_the_reference(name: str) -> None:
    assert f"`{name}`" in REFERENCE
