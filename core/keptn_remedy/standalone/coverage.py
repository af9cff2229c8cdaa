"""Whether remedies answer what alerting rules can tell: by their names, and with evidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from keptn_remedy.action import PermanentError
from keptn_remedy.remediation.file import FILE, MAX_BYTES
from keptn_remedy.standalone import remedy_files
from keptn_remedy.standalone.alert_rules import AlertingRule
from keptn_remedy.standalone.promql import measured
from keptn_remedy.standalone.rules import Remedy

Entries = Sequence[tuple[str, Sequence[Remedy]]]
"""Problem types with their actions."""


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
