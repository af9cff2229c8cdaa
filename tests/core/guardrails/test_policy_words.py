"""A policy in plain English, and the commands that tell it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from keptn_remedy.cli import policies
from keptn_remedy.guardrails import words
from keptn_remedy.guardrails.policy import BUILT_IN, Policy, Rule, json_schema
from keptn_remedy.guardrails.words import Part, explain
from tests.commands import REMEDY, SECONDS, clean, remedy

GREETINGS = """
from keptn_remedy import Action, Outcome

class Greet(Action):
    name = "greet"
    aliases = ("say-hello",)

    async def run(self, context, value):
        return Outcome.passed("hello")
"""
EXAMPLE = Path(__file__).parents[3] / "examples" / "policy.yaml"


def parts(*entries: str) -> list[Part]:
    numbered = [f"- {{name: '{number}', {entry}}}" for number, entry in enumerate(entries, 1)]
    return explain(
        Policy.load("\n".join(["version: 1", "timezone: Europe/Berlin", "rules:", *numbered]))
    )


def sentences(settings: str) -> tuple[str, ...]:
    return parts(settings)[0].holds


# In words


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


def test_what_is_built_in_is_told_as_far_as_it_still_holds() -> None:
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


# The commands


def test_a_good_policy_is_explained(tmp_path: Path) -> None:
    said = remedy(tmp_path, "policy", "check", EXAMPLE)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"{EXAMPLE} is good. ")
    assert "\n4. scaling: action scale\n  - it never scales up beyond 20 replicas, " in said.out


def test_people_get_no_line_that_is_wider_than_their_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(policies, "is_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    policies.check(EXAMPLE, as_json=False)
    lines = capsys.readouterr().out.split("\n")
    assert len(lines) > 30
    assert max(map(len, lines)) <= 60


def test_the_mistakes_of_a_bad_policy_are_told_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\nrules:\n- {name: a, mod: act}\n")
    said = remedy(tmp_path, "policy", "check", "bad.yaml")
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == [
        "remedy: bad.yaml: line 3: rule 'a': there is no 'mod'; did you mean mode?"
    ]


def test_a_policy_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    said = remedy(tmp_path, "policy", "check", "nowhere.yaml", "--json")
    assert (said.code, said.out) == (2, "")
    assert said.mistakes == [
        "remedy: can't read a policy from nowhere.yaml: No such file or directory"
    ]


def test_what_is_not_text_is_a_bad_policy(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    said = remedy(tmp_path, "policy", "check", "bad.yaml")
    assert (said.code, said.mistakes) == (1, ["remedy: bad.yaml is not text in UTF-8"])


def test_programs_are_told_in_json(tmp_path: Path) -> None:
    said = json.loads(remedy(tmp_path, "policy", "check", EXAMPLE, "--json").out)
    assert (said["good"], said["mistakes"], said["notes"]) == (True, [], [])
    assert said["explained"][2] == {
        "rule": "flags",
        "applies_to": "action toggle-feature",
        "holds": ["at most 5 targets in one execution", "it is undone when the problem closes"],
    }


def test_programs_are_told_mistakes_in_json(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("version: 2")
    said = remedy(tmp_path, "policy", "check", "bad.yaml", "--json")
    assert said.code == 1
    mistake = "bad.yaml: line 1: version: must be 1; it says '2'"
    expected = {"good": False, "mistakes": [mistake], "notes": [], "explained": []}
    assert json.loads(said.out) == expected
    assert said.mistakes == [f"remedy: {mistake}"]


def about(folder: Path, actions: str) -> str:
    """The name of a file with a policy about these actions."""
    rule = f"{{name: a, match: {{action: [{actions}]}}, settle: 1}}"
    (folder / "policy.yaml").write_text(f"version: 1\nrules:\n- {rule}")
    return "policy.yaml"


def test_an_action_that_nobody_has_is_noted(tmp_path: Path) -> None:
    policy = about(tmp_path, "Scaling, 'purge*', ToggleFeature, Twist")
    said = remedy(tmp_path, "policy", "check", policy)
    note = (
        "there is no action 'Twist', as rule 'a' says, in an installed package or"
        " REMEDY_ACTIONS_DIR: it matches nothing"
    )
    assert (said.code, said.mistakes) == (0, [f"remedy: note: {note}"])
    said = remedy(tmp_path, "policy", "check", policy, "--json")
    assert json.loads(said.out)["notes"] == [note]


def test_the_names_of_actions_of_ones_own_are_known(tmp_path: Path) -> None:
    (tmp_path / "greetings").mkdir()
    (tmp_path / "greetings" / "greetings.py").write_text(GREETINGS)
    policy = about(tmp_path, "Greet, say_hello, scale, wave")
    said = remedy(tmp_path, "policy", "check", policy, REMEDY_ACTIONS_DIR="greetings")
    assert said.code == 0
    (note,) = said.mistakes
    assert "no action 'wave'" in note


def test_actions_that_can_not_be_loaded_are_noted(tmp_path: Path) -> None:
    policy = about(tmp_path, "wave")
    said = remedy(tmp_path, "policy", "check", policy, REMEDY_ACTIONS_DIR="nowhere")
    assert said.code == 0
    (note,) = said.mistakes
    assert note.startswith("remedy: note: the actions can't be loaded")
    assert "REMEDY_ACTIONS_DIR: nowhere is not a folder" in note


def test_what_steers_terminals_is_not_printed(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text('version: 1\nrules:\n- {name: a, match: {stage: "\\e[2J"}, mode: act}')
    said = remedy(tmp_path, "policy", "check", path)
    assert said.code == 0
    assert "\x1b" not in said.out


def test_the_schema_is_printed(tmp_path: Path) -> None:
    said = remedy(tmp_path, "policy", "schema")
    assert (said.code, said.err) == (0, "")
    assert json.loads(said.out) == json.loads(json.dumps(json_schema()))


def test_checking_a_policy_does_not_wait_for_the_network_libraries(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", REMEDY, "policy", "check", EXAMPLE],
        env=clean(tmp_path, {}),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.split("\n")}
    assert "keptn_remedy.guardrails.policy" in imported
    assert not imported & {"aiohttp", "kubernetes"}
