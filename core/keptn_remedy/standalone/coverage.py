"""Whether remedies answer what alerting rules can tell: by their names, and with evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keptn_remedy.action import PermanentError
from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.remediation.file import FILE, MAX_BYTES
from keptn_remedy.standalone import remedy_files
from keptn_remedy.standalone.promql import measured
from keptn_remedy.standalone.rules import Remedy

Entries = Sequence[tuple[str, Sequence[Remedy]]]
"""Problem types with their actions."""


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


def all_entries(folder: Path) -> list[tuple[Path, Entries]]:
    """The entries of every remediation.yaml in a folder; files that can't be used have none."""
    found: list[tuple[Path, Entries]] = []
    for path in sorted(folder.rglob(FILE)):
        try:
            with path.open("rb") as content:
                found.append((path, remedy_files.entries(content.read(MAX_BYTES + 1))))
        except (OSError, PermanentError):
            found.append((path, ()))
    return found


def unanswered(rules: Iterable[AlertingRule], entries: Entries) -> list[AlertingRule]:
    """The rules for whose alerts no entry has an action."""
    found = ((rule, remedy_files.hit(entries, rule.names)) for rule in rules)
    return [rule for rule, entry in found if entry is None or not entry[1]]


def without_evidence(
    rules: Iterable[AlertingRule], entries: Entries
) -> Iterator[tuple[str, int, AlertingRule]]:
    """Where the judge could never tell: the problem type, the number of the action, from 1, and the
    rule, which compares no number, while the action names no evidence.
    """
    by_name = {name: rule for rule in rules for name in rule.names}
    for problem_type, remedies in entries:
        rule = by_name.get(problem_type)
        if rule is None or measured(rule.query):
            continue
        for number, remedy in enumerate(remedies, 1):
            if remedy.criterion.kind == "alert" and not remedy.criterion.evidence:
                yield problem_type, number, rule
