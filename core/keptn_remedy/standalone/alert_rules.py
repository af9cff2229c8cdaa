"""The alerting rules in Prometheus' rule files, and in manifests of its operator."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from keptn_remedy.events.cloud_event import is_array, is_object
from keptn_remedy.remediation.file import as_map

MOST_BYTES = 4_000_000
_SUFFIXES = (".yaml", ".yml", ".rules")


@dataclass(frozen=True, slots=True)
class AlertingRule:
    """A rule of Prometheus as far as a remedy depends on it."""

    name: str
    query: str
    annotations: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """What its alerts may be called in remediation.yaml, as far as no template decides that."""
        given = (self.annotations.get(name, "") for name in ("keptn_problem", "summary"))
        return tuple(each for each in (*given, self.name) if each and "{{" not in each)


def rule_of(found: Mapping[str, Any], name: str = "name", query: str = "query") -> AlertingRule:
    """A rule as Prometheus lists it; files say `alert` and `expr`."""
    annotations = found.get("annotations")
    return AlertingRule(
        name=str(found.get(name) or ""),
        query=str(found.get(query) or ""),
        annotations=annotations if is_object(annotations) else {},
    )


def read_rules(path: Path) -> list[AlertingRule]:
    """The rules of a file, or of all files below a folder.

    Raises:
        OSError: it can't be read. ValueError: a file is no YAML, or too large.
    """
    files = sorted(each for each in path.rglob("*") if each.suffix in _SUFFIXES)
    return [rule for file in (files if path.is_dir() else [path]) for rule in _rules(file)]


def _rules(file: Path) -> Iterator[AlertingRule]:
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
            for rule in map(as_map, _list(group.get("rules"))):
                if rule.get("alert"):
                    yield rule_of(rule, "alert", "expr")


def _list(found: Any) -> list[Any]:
    return found if is_array(found) else []
