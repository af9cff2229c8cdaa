"""`remedy lint` on ways of judging, and beside Prometheus' rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.core.cli.lint.test_lint import HEAD, SCALE, linted, of
from tests.ordering import say

RULES = """\
groups:
- name: carts
  rules:
  - {record: errors, expr: sum(e)}
  - {alert: TooManyErrors, expr: errors > 5}
  - {alert: Gone, expr: absent(up)}
  - {alert: Nameless, expr: up == 0, annotations: {summary: "{{ $labels.job }}"}}
  - {alert: Named, expr: up == 0, annotations: {keptn_problem: TooManyErrors}}
"""


def judged(evaluation: str, problem: str = "default") -> str:
    return HEAD + of(f"{SCALE}, evaluation: {{{evaluation}}}", problem=problem)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (judged("promql: {query: errors, want: '< 5'}"), []),
        (judged("alert: {evidence: errors}"), []),
        (
            judged("promql: {query: errors > bool 1, want: '< 5'}"),
            ["7:65: error [criterion]"],
        ),
        (judged("alert: {evidence: e or vector(0)}"), ["7:67: error [criterion]"]),
        (judged("promql: {query: errors}"), ["7:7: error [evaluation]"]),
        (judged("promq: {}"), ["7:7: error [evaluation]"]),
    ],
)
async def test_how_an_action_is_judged(tmp_path: Path, content: str, expected: list[str]) -> None:
    assert await linted(tmp_path, content) == expected


async def test_alerts_without_a_remedy_and_remedies_that_could_never_be_judged(
    tmp_path: Path,
) -> None:
    (tmp_path / "rules.yml").write_text(RULES)
    content = HEAD + of(SCALE, problem="TooManyErrors") + of(SCALE, problem="Gone")
    found = await linted(tmp_path, content, "rules.yml")
    assert sorted(found) == ["10:7: warning [evidence]", "7:13: warning [no-remedy]"]
    assert await linted(tmp_path, content) == []
    alone = await say(tmp_path, "lint", "rules.yml")
    assert (alone.code, alone.out) == (0, "")
