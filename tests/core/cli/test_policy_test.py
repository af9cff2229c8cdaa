"""`remedy policy test`: what would happen, by which rule, and cases of a pipeline."""

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.commands import remedy
from tests.ordering import say

ROOT = Path(__file__).parents[3]
POLICY = str(ROOT / "examples" / "policy.yaml")
SIX_FLAGS = tuple(part for n in range(6) for part in ("--target", f"flag {n}"))
CHRISTMAS, WORKDAY = "2026-12-24 10:00", "2026-11-02 10:00"


@pytest.mark.parametrize(
    ("options", "verdict", "rule"),
    [
        (("--action", "scale", "--at", CHRISTMAS), "refused", "quiet days in production"),
        (("--action", "scale", "--at", WORKDAY), "acts", ""),
        (
            ("--action", "Scaling", "--at", WORKDAY, "--replicas", "4:30"),
            "refused",
            "scaling",
        ),
        (
            ("--action", "rollback", "--at", WORKDAY),
            "asks",
            "rollbacks in production ask first",
        ),
        (
            ("--action", "toggle-feature", "--at", WORKDAY, *SIX_FLAGS),
            "refused",
            "flags",
        ),
    ],
)
async def test_a_policy_says_what_would_happen(
    tmp_path: Path, options: tuple[str, ...], verdict: str, rule: str
) -> None:
    said = await say(
        tmp_path, "policy", "test", POLICY, "--stage", "production", "--json", *options
    )
    found = json.loads(said.out)
    assert (said.code, found["verdict"], found["rule"]) == (0, verdict, rule)


async def test_what_is_misspelt_is_told_in_words(tmp_path: Path) -> None:
    said = await say(tmp_path, "policy", "test", POLICY, "--action", "scle")
    assert said.err == "remedy: note: there is no action 'scle'; did you mean scale?\n"
    late = await say(tmp_path, "policy", "test", POLICY, "--action", "scale", "--at", "tomorrow")
    assert late.code == 2
    assert late.err.startswith('remedy: at: must be a time, such as "2026-12-24 10:00"')


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        (("--memory", "256Mi:332Mi"), "acts"),
        (("--memory", "256Mi:512Mi"), "refused"),
        (("--cpu", "500m:1"), "acts"),
        (("--cpu", "500m:2"), "refused"),
    ],
)
async def test_a_size_is_part_of_the_plan(
    tmp_path: Path, options: tuple[str, ...], verdict: str
) -> None:
    rule = 'name: sizes, match: {action: resize}, memory_step: "+30%", cpu_step: x2'
    (tmp_path / "policy.yaml").write_text(f"version: 1\nrules:\n- {{{rule}}}\n")
    asked = ("policy", "test", "policy.yaml", "--action", "resize", "--json")
    found = json.loads((await say(tmp_path, *asked, *options)).out)
    assert (found["verdict"], found["rule"]) == (verdict, "sizes" if verdict == "refused" else "")
    case = {"name": "x", "action": "resize", options[0][2:]: options[1].split(":")}
    cases = {"cases": [{**case, "expect": verdict}]}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump(cases))
    said = await say(tmp_path, "policy", "test", "policy.yaml", "--cases", "cases.yaml")
    assert said.out == "1 of 1 case is as expected\n"


async def test_limits_that_count_are_listed(tmp_path: Path) -> None:
    said = await say(tmp_path, "policy", "test", POLICY, "--action", "scale", "--at", WORKDAY)
    first, *others = said.out.splitlines()
    assert first == "acts by the built-in rules: no rule is against it"
    assert "  - earlier executions count: cooldown 5m" in others
    assert "  - earlier executions count: at_most 3 in 1h per action, target" in others


async def test_the_cases_of_the_docs_hold(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "guard-rails.md").read_text("utf-8")
    (cases,) = re.findall(r"^```yaml\n(cases:\n.*?)^```", page, re.DOTALL | re.MULTILINE)
    (tmp_path / "cases.yaml").write_text(cases)
    said = await say(tmp_path, "policy", "test", POLICY, "--cases", "cases.yaml")
    assert (said.code, said.out) == (0, "2 of 2 cases are as expected\n")


async def test_a_case_that_differs_fails(tmp_path: Path) -> None:
    case = {"name": "odd", "action": "scale", "at": WORKDAY, "expect": "refused"}
    (tmp_path / "cases.yaml").write_text(yaml.safe_dump({"cases": [case]}))
    said = await say(tmp_path, "policy", "test", POLICY, "--cases", "cases.yaml")
    assert said.code == 1
    odd, count = said.out.splitlines()
    assert odd == "odd: acts by the built-in rules, not refused: no rule is against it"
    assert count == "0 of 1 case is as expected"


async def test_a_mistake_in_the_cases_has_its_line(tmp_path: Path) -> None:
    (tmp_path / "cases.yaml").write_text("cases:\n- name: a\n  action: scale\n  expect: explode\n")
    said = await say(tmp_path, "policy", "test", POLICY, "--cases", "cases.yaml")
    assert said.code == 2
    assert said.err.startswith("remedy: cases.yaml: line 4: cases.0.expect: must be acts, asks, ")


@pytest.mark.parametrize(
    "options",
    [(), ("--action", "scale", "--cases", "x"), ("--action", "scale", "--at", "tomorrow")],
)
async def test_wrong_usage(tmp_path: Path, options: tuple[str, ...]) -> None:
    assert (await say(tmp_path, "policy", "test", POLICY, *options)).code == 2


def test_an_action_is_tried_under_a_policy(tmp_path: Path, flags: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 1\nrules:\n- {name: never, decision: deny}\n")
    tried = ("try", "toggle-feature", "--value", '{"Campaign": "off"}', "--policy", "policy.yaml")
    said = remedy(tmp_path, *tried, FLAGD_FILE=str(flags))
    assert "never" in said.out
    assert remedy(tmp_path, *tried, "--apply", FLAGD_FILE=str(flags)).code == 2
