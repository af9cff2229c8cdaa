"""`remedy lint`: each rule on the smallest file that breaks it, and each format."""

import json
from pathlib import Path

import pytest
import yaml

from tests.ordering import say

ROOT = Path(__file__).parents[4]
HEAD = "apiVersion: spec.keptn.sh/0.1.4\nkind: Remediation\nspec:\n  remediations:\n"
SCALE = "action: scale, value: '+1'"
SHIPYARD = """\
kind: Shipyard
spec:
  stages:
  - name: production
    sequences:
    - name: remediation
      triggeredOn:
      - event: production.remediation.finished
        selector: {match: {%s: fail}}
      tasks: [{name: get-action}, {name: action}, {name: evaluation}]
"""


async def linted(folder: Path, content: str, *options: str, **given: str) -> list[str]:
    """The remarks as `line:column: level [rule]`, without those on what is off here."""
    (folder / "file.yaml").write_text(content)
    said = await say(folder, "lint", "file.yaml", "--json", *options, **given)
    remarks = [json.loads(line) for line in said.out.splitlines()]
    assert said.code == any(remark["level"] == "error" for remark in remarks)
    return [
        f"{r['line']}:{r['column']}: {r['level']} [{r['rule']}]"
        for r in remarks
        if r["rule"] != "action-off"
    ]


def of(*entries: str, problem: str = "default") -> str:
    lines = "".join(f"    - {{{entry}}}\n" for entry in entries)
    return f"  - problemType: {problem}\n    actionsOnOpen:\n{lines}"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (HEAD + of(SCALE), []),
        (HEAD.replace("0.1.4", "0.2.3") + of(SCALE), ["1:13: error [api-version]"]),
        (HEAD + of("action: scael"), ["7:16: error [unknown-action]"]),
        (HEAD + of("action: scale, value: many"), ["7:30: error [value]"]),
        (HEAD + of("action: scale, value: {replicas: '1', max: x}"), ["7:51: error [value]"]),
        (
            HEAD + of("action: toggle-feature, value: {Flag: off}"),
            ["7:46: warning [unquoted]"],
        ),
        (HEAD + of("action: scale, value: 5"), ["7:30: warning [unquoted]"]),
        (HEAD + of(SCALE) + of(SCALE), ["8:18: error [duplicate-problem-type]"]),
        (
            HEAD + of(SCALE, SCALE, problem="CPU"),
            ["8:7: warning [unreachable-action]"],
        ),
        (
            HEAD + of(SCALE, "action: restart"),
            ["8:7: warning [unreachable-action]", "8:7: warning [leaking-value]"],
        ),
        (
            HEAD
            + of(
                "action: toggle-feature, value: {A: 'on'}",
                "action: toggle-feature, value: {B: 'on'}",
            ),
            ["8:7: warning [unreachable-action]", "8:39: warning [leaking-value]"],
        ),
        (HEAD + "  - problemType: default\n", ["5:5: error [no-action]"]),
        (HEAD, ["4:16: error [no-action]"]),
        ("a: [", ["1:5: error [unreadable]"]),
        ("", ["1:1: error [api-version]", "1:1: error [no-action]"]),
        (SHIPYARD % "action.result", []),
        (SHIPYARD % "evaluation.result", ["6:7: warning [no-action-result-trigger]"]),
        (
            (SHIPYARD % "action.result").replace("{name: get-action}, ", ""),
            ["10:14: warning [tasks]"],
        ),
    ],
)
async def test_each_rule_has_its_place(tmp_path: Path, content: str, expected: list[str]) -> None:
    assert await linted(tmp_path, content) == expected


async def test_the_nearest_action_is_named_and_one_that_is_off(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(HEAD + of("action: scael") + of(SCALE, problem="x"))
    said = await say(tmp_path, "lint", "file.yaml")
    unknown, off = said.out.splitlines()
    assert unknown == (
        "file.yaml:7:16: error: there is no action 'scael'; did you mean scale? [unknown-action]"
    )
    assert off.startswith("file.yaml:10:16: warning: the action scale is off here: ")
    assert said.code == 1


async def test_the_policy_is_checked_as_well(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\nrules:\n- {name: a, coldown: 1}\n")
    assert await linted(tmp_path, HEAD + of(SCALE), "--policy", "policy.yaml") == [
        "3:1: error [policy]"
    ]


async def test_github_shows_annotations(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(HEAD + of("action: scale, value: many"))
    (_, line) = (await say(tmp_path, "lint", "file.yaml", "--format", "github")).out.splitlines()
    assert line.startswith("::error file=file.yaml,line=7,col=30,title=value::the value of scale: ")


async def test_sarif_names_rules_and_places(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text(HEAD + of("action: scael"))
    log = json.loads((await say(tmp_path, "lint", "file.yaml", "--format", "sarif")).out)
    (run,) = log["runs"]
    (result,) = run["results"]
    assert (log["version"], result["ruleId"], result["level"]) == (
        "2.1.0",
        "unknown-action",
        "error",
    )
    assert result["ruleId"] in {rule["id"] for rule in run["tool"]["driver"]["rules"]}
    place = result["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "file.yaml"
    assert place["region"] == {"startLine": 7, "startColumn": 16}


async def test_a_file_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    said = await say(tmp_path, "lint", "nowhere.yaml")
    assert (said.code, said.out) == (2, "")
    assert said.err == "remedy: can't read a file: nowhere.yaml: No such file or directory\n"


async def test_the_examples_have_no_errors_but_for_their_own_action() -> None:
    files = [str(ROOT / "examples" / name) for name in ("remediation.yaml", "shipyard.yaml")]
    (folder,) = {str(ROOT / "examples" / "purge_cache")}
    said = await say(ROOT, "lint", *files, "--json", REMEDY_ACTIONS_DIR=folder)
    errors = [json.loads(line) for line in said.out.splitlines() if '"error"' in line]
    assert (said.code, errors) == (0, [])


def test_the_pre_commit_hook_is_the_command() -> None:
    (hook,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text("utf-8"))
    assert (hook["id"], hook["entry"], hook["language"]) == ("remedy-lint", "remedy lint", "python")
