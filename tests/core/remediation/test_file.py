"""remediation.yaml is read as Keptn reads it, in the form of any release, within bounds."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from keptn_remedy import PermanentError
from keptn_remedy.remediation.file import MAX_BYTES, ListedAction, entries


def entries_of(file: str | bytes) -> list[ListedAction]:
    return entries(file if isinstance(file, bytes) else file.encode())


def value_in(file: str) -> Any:
    (scaling,) = (entry for entry in entries_of(file) if entry.action == "scale")
    return scaling.value


OF_KEPTN_0_6 = "remediations: [{name: default, actions: [{action: scale, value: '+2'}]}]"
DRAFT_BEFORE_0_7 = """
version: 0.2.0
spec: {remediations: [{problemType: x, actionsOnOpen: [{action: scale, values: '+2'}]}]}
"""
ANCHORS_AND_MERGED_KEYS = """
spec: {remediations: [{problemType: x, actionsOnOpen: [
  {action: restart, name: other, value: &two '+2'}, {<<: {action: scale, value: x}, value: *two}
]}]}
"""
NO_ENTRIES_AMONG_IT = """
spec: {remediations: [
  text, ~, {actionsOnOpen: 7}, {actionsOnOpen: [~, 8, {action: scale, value: '+2'}]}
]}
"""


@pytest.mark.parametrize(
    "file", [OF_KEPTN_0_6, DRAFT_BEFORE_0_7, ANCHORS_AND_MERGED_KEYS, NO_ENTRIES_AMONG_IT]
)
def test_other_forms_are_read_too(file: str) -> None:
    assert value_in(file) == "+2"


def test_the_value_is_what_keptn_makes_of_the_yaml() -> None:
    file = """
    spec: {remediations: [{problemType: default, actionsOnOpen: [{action: scale, value: {
      switch: off, day: 2026-01-01, time: 1:30, number: 2, share: 0.5, none: ~, endless: .inf,
      on: "text", 7: [a, {b: yes}]}}]}]}
    """
    assert value_in(file) == {
        "switch": False,
        "day": "2026-01-01",
        "time": "1:30",
        "number": 2,
        "share": 0.5,
        "none": None,
        "endless": ".inf",
        "on": "text",
        "7": ["a", {"b": True}],
    }


LETTERS = "abcdefghijklmnopq"
LAUGHS = [f"{b}: &{b} [*{a}, *{a}]" for a, b in pairwise(LETTERS)]


@pytest.mark.parametrize(
    ("file", "why"),
    [
        ("a: [", "while parsing"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        (b"\xff\xfe\x00", "unacceptable character"),
        ("a: &a [*a]", "recursion"),
        ("[" * 5_000, "recursion"),
        ("\n".join(["a: &a [x, x]", *LAUGHS]), "more than 20000 items"),
        ("a: " + "9" * 5_000, "4300 digits"),
        ("#" * (MAX_BYTES + 1), "64001 bytes"),
    ],
    ids=str.split("unclosed documents encoding loop nested laughs digits size"),
)
def test_what_is_no_yaml_or_too_much_of_it_is_refused(file: str | bytes, why: str) -> None:
    with pytest.raises(PermanentError, match=why):
        entries_of(file)


@pytest.mark.parametrize("file", ["", "text", "[]", "spec: ~", "spec: {remediations: {}}"])
def test_a_file_without_entries_has_nothing(file: str) -> None:
    assert entries_of(file) == []


def test_objects_of_python_are_not_made() -> None:
    file = (
        "spec: {remediations: [{actionsOnOpen: [{action: scale,"
        " value: !!python/object/apply:os.getcwd []}]}]}"
    )
    assert value_in(file) == []
