"""What `remedy lint` says, and where: for people, for GitHub's annotations, and as SARIF."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

Level = Literal["error", "warning"]
RULES: Mapping[str, str] = {
    "unreadable": "The file can be read.",
    "api-version": "apiVersion is the one that Keptn reads.",
    "unknown-action": "The action exists.",
    "action-off": "The action is switched on.",
    "value": "The value fits the action.",
    "unquoted": "Scalars of a value are quoted, so that YAML reads them as text.",
    "duplicate-problem-type": "A problem type has one entry.",
    "no-action": "A problem type has an action.",
    "unreachable-action": "A problem type has one action, which Keptn carries out.",
    "leaking-value": "What an earlier round leaves in a value does no harm.",
    "no-action-result-trigger": "A failed action has a consequence.",
    "tasks": "The remediation sequence has the tasks get-action, action and evaluation.",
    "policy": "The policy is valid.",
}


@dataclass(frozen=True, slots=True)
class Remark:
    """One thing that is wrong. Lines and columns count from 1."""

    rule: str
    level: Level
    path: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}:{self.column}"
        return f"{place}: {self.level}: {self.message} [{self.rule}]"


def as_fields(remark: Remark) -> dict[str, Any]:
    """For JSON."""
    return asdict(remark)


def as_github(remark: Remark) -> str:
    """A workflow command, which GitHub shows beside the line."""
    place = f"file={_property(remark.path)},line={remark.line},col={remark.column}"
    return f"::{remark.level} {place},title={remark.rule}::{_data(remark.message)}"


def as_sarif(remarks: Sequence[Remark], version: str) -> str:
    """A SARIF 2.1.0 log."""
    rules = [{"id": rule, "shortDescription": {"text": text}} for rule, text in RULES.items()]
    driver = {"name": "remedy lint", "version": version, "rules": rules}
    run = {"tool": {"driver": driver}, "results": list(map(_result, remarks))}
    return json.dumps({"version": "2.1.0", "$schema": _SCHEMA, "runs": [run]}, indent=2)


_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def _result(remark: Remark) -> dict[str, Any]:
    region = {"startLine": remark.line, "startColumn": remark.column}
    place = {"artifactLocation": {"uri": remark.path}, "region": region}
    return {
        "ruleId": remark.rule,
        "level": remark.level,
        "message": {"text": remark.message},
        "locations": [{"physicalLocation": place}],
    }


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
