"""Which actions files of Keptn ask for: a table of Keptn's rules, and where files lie.

The table is written from what the remediation-service of Keptn 1.4.5 does. `apiVersion` must be
exactly `spec.keptn.sh/0.1.4`. Problem types are compared letter by letter, first with the root
cause, then with the title, then with `default`. The first hit counts, also without an action. Its
actions follow by their index, each with its own value. It knows nothing of the code that is tested.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from keptn_remedy.remediation import file
from keptn_remedy.standalone import ladder, remedy_files

NAMES = ("Slow", "slow", "Slow ", "Slow down", "CPU", "Errors", "default", "Default")
VERSIONS = (*["spec.keptn.sh/0.1.4"] * 9, "spec.keptn.sh/0.2.0", "0.1.4", "")
# As they are written, and as Keptn's YAML reads them.
VALUES: tuple[tuple[str, Any], ...] = (
    ('"2"', "2"),
    ('{"Flag": "off"}', {"Flag": "off"}),
    ('{"a": {"b": ["1", "2"]}}', {"a": {"b": ["1", "2"]}}),
    ("2", 2),
    ("true", True),
    ("null", None),
    ("", None),
)
Rungs = list[tuple[str, Any]]


class Case(NamedTuple):
    """A file, and the names of a problem. `listed` is what the file says."""

    text: str
    names: tuple[str, ...]
    version: str
    listed: list[tuple[str, Rungs]]


def generated(seed: int) -> Case:
    chance = random.Random(seed)  # noqa: S311
    version = chance.choice(VERSIONS)
    lines = [f"apiVersion: {json.dumps(version)}", *_head(chance), "spec:", "  remediations:"]
    listed: list[tuple[str, Rungs]] = []
    for _ in range(chance.randint(1, 6)):
        problem, rungs = chance.choice(NAMES), Rungs()
        lines.append(f"    - problemType: {json.dumps(problem)}")
        number = chance.choice((0, 1, 1, 2, 3))
        lines.append("      actionsOnOpen:" if number else "      actionsOnOpen: []")
        for place in range(number):
            written, value = chance.choice(VALUES)
            action = chance.choice(("scale", "toggle-feature", "Scale", "my action"))
            lines.append(f"        - action: {json.dumps(action)}")
            lines += [f"          name: try {place}"] if chance.random() < 0.5 else []
            lines += [f"          value: {written}"] if written else []
            rungs.append((action, value))
        listed.append((problem, rungs))
    names = tuple(chance.sample([*NAMES[:6], "Unknown"], chance.choice((1, 2, 3))))
    return Case("\n".join(lines) + "\n", names, version, listed)


def _head(chance: random.Random) -> list[str]:
    heads: tuple[list[str], ...] = (
        [],
        ["kind: Remediation"],
        ["kind: Remediation", "metadata: {name: carts}"],
    )
    return chance.choice(heads)


def by_keptns_rules(case: Case) -> Rungs | None:
    """The actions in their order; None where Keptn's get-action fails."""
    if case.version != "spec.keptn.sh/0.1.4":
        return None
    for wanted in (*case.names, "default"):
        hits = [rungs for problem, rungs in case.listed if problem == wanted]
        if hits:
            return hits[0] or None
    return None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (("shop/prod/carts", "shop/prod", "shop"), "shop/prod/carts"),
        (("shop/prod", "shop"), "shop/prod"),
        (("shop",), "shop"),
        (("shop/test", "bank"), None),
    ],
)
def test_the_file_of_the_service_counts_before_that_of_its_stage_and_its_project(
    tmp_path: Path, files: tuple[str, ...], expected: str | None
) -> None:
    for folder in files:
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        text = f"""apiVersion: spec.keptn.sh/0.1.4
spec: {{remediations: [{{problemType: Slow, actionsOnOpen: [{{action: "{folder}"}}]}}]}}"""
        (tmp_path / folder / "remediation.yaml").write_text(text)
    found = remedy_files.find(tmp_path, ("shop", "prod", "carts"), ("Slow",))
    assert (found.entry and found.entry["rungs"][0]["action"]) == expected


SHIPYARD = """
apiVersion: spec.keptn.sh/0.2.3
kind: Shipyard
metadata: {name: shipyard-shop}
spec:
  stages:
    - name: dev
    - name: prod
      sequences:
        - name: delivery
          tasks: [{name: evaluation, triggeredAfter: 1m}]
        - name: remediation
          triggeredOn:
            - event: prod.remediation.finished
              selector: {match: {evaluation.result: fail}}
          tasks:
            - name: get-action
            - name: action
            - {name: evaluation, triggeredAfter: 15m, properties: {timeframe: 1h30m}}
"""
TIMES = ", triggeredAfter: 15m, properties: {timeframe: 1h30m}"
NO_TIME = "triggeredAfter of evaluation must be a duration, such as 90s, 15m or 1.5h, not 'soon'"
FIRST, SECOND = ("scale", 5.0, 5400.0, "escalate"), ("restart", 900.0, 7.0, "next")
WITHOUT = ("restart", None, 7.0, "next")
TWO = """apiVersion: spec.keptn.sh/0.1.4
spec:
  remediations:
    - problemType: Slow
      actionsOnOpen:
        - {action: scale, wait: 5s}
        - {action: restart, evaluation: {window: 7s}, on_action_failed: next}
"""


def rungs_by(root: Path, written: str) -> list[tuple[Any, ...]]:
    """Action, wait, window, and what follows a failure, with this shipyard.yaml."""
    (root / "shop").mkdir(exist_ok=True)
    (root / "shop/remediation.yaml").write_text(TWO)
    (root / "shop/shipyard.yaml").write_text(written)
    found = remedy_files.find(root, ("shop", "prod", "carts"), ("Slow",))
    if found.entry is None:
        return [(found.why.replace(f"{root}/", ""),)]
    fields = ("action", "wait", "window", "on_action_failed")
    return [tuple(each[name] for name in fields) for each in found.entry["rungs"]]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", [FIRST, SECOND]),
        ("evaluation.result", "result", [("scale", 5.0, 5400.0, "next"), SECOND]),
        # Keptn starts no second round then.
        ("evaluation.result: fail", "evaluation.result: pass", [FIRST]),
        ("event: prod.", "event: dev.", [FIRST]),
        ("name: prod", "name: other", [("scale", 5.0, None, None), WITHOUT]),
        (TIMES, "", [("scale", 5.0, None, "escalate"), WITHOUT]),
        ("1h30m", "1.5h", [FIRST, SECOND]),
        ("15m", "1000ms", [FIRST, ("restart", 1.0, 7.0, "next")]),
        ("15m", "-15m", [(f"shop/shipyard.yaml: {NO_TIME.replace('soon', '-15m')}",)]),
        ("15m", "soon", [(f"shop/shipyard.yaml: {NO_TIME}",)]),
    ],
)
def test_times_and_rounds_of_shipyard_yaml_count(
    tmp_path: Path, old: str, new: str, expected: list[tuple[Any, ...]]
) -> None:
    assert rungs_by(tmp_path, SHIPYARD.replace(old, new) if old else SHIPYARD) == expected


def test_what_the_shipyard_leaves_out_is_noted(tmp_path: Path) -> None:
    rungs_by(tmp_path, SHIPYARD.replace("evaluation.result: fail", "evaluation.result: pass"))
    found = remedy_files.find(tmp_path, ("shop", "prod", "carts"), ("Slow",))
    move = ladder.with_remedy(found.entry, found.digest, found.why, 0.0)
    assert move.text == (
        "Slow of remediation.yaml: scale; shipyard.yaml leads to no action after the first"
    )


def test_many_problems_parse_the_shipyard_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = list[str]()

    def parsed(content: bytes, path: str) -> Any:
        read.append(Path(path).name)
        return parse(content, path)

    parse = file.parsed
    monkeypatch.setattr(remedy_files, "parsed", parsed)
    for _ in range(3):
        assert rungs_by(tmp_path, SHIPYARD) == [FIRST, SECOND]
    assert read.count("shipyard.yaml") == 1
