"""The alerting rules in Prometheus' rule files, and in manifests of its operator."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from keptn_remedy.events.cloud_event import is_array
from keptn_remedy.remediation.file import as_map, as_text

MOST_BYTES = 4_000_000
_SUFFIXES = (".yaml", ".yml", ".rules")


class AlertRule(NamedTuple):
    """A rule: the alert's name, what it may be called in remediation.yaml, and its expression."""

    name: str
    names: frozenset[str]
    expression: str


def read_rules(path: Path) -> list[AlertRule]:
    """The rules of a file, or of all files below a folder.

    Raises:
        OSError: it can't be read. ValueError: a file is no YAML, or too large.
    """
    files = sorted(each for each in path.rglob("*") if each.suffix in _SUFFIXES)
    return [rule for file in (files if path.is_dir() else [path]) for rule in _rules(file)]


def _rules(file: Path) -> Iterator[AlertRule]:
    with file.open("rb") as content:
        text = content.read(MOST_BYTES + 1)
    if len(text) > MOST_BYTES:
        raise ValueError(f"{file} has more than {MOST_BYTES} bytes")
    try:
        documents = [*yaml.safe_load_all(text)]
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(f"{file}: {' '.join(str(error).split())}") from None
    for document in map(as_map, documents):
        listed = document.get("groups", as_map(document.get("spec")).get("groups"))
        for group in map(as_map, _list(listed)):
            yield from filter(None, map(_rule, _list(group.get("rules"))))


def _rule(written: Any) -> AlertRule | None:
    rule = as_map(written)
    name = as_text(rule.get("alert"))
    if not name:
        return None
    annotations = as_map(rule.get("annotations"))
    called = {as_text(annotations.get(each)) for each in ("keptn_problem", "summary")}
    return AlertRule(name, frozenset({name, *called} - {""}), as_text(rule.get("expr")))


def _list(found: Any) -> list[Any]:
    return found if is_array(found) else []
