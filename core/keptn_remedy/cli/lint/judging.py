"""The checks of standalone mode: how actions are judged, and which alerts have no remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import yaml

from keptn_remedy.action import PermanentError
from keptn_remedy.cli.lint.nodes import File, below, items, pairs, text
from keptn_remedy.cli.lint.remarks import Remark
from keptn_remedy.standalone.alert_rules import AlertingRule
from keptn_remedy.standalone.coverage import Entries, unanswered, without_evidence
from keptn_remedy.standalone.promql import doubts
from keptn_remedy.standalone.remedy_files import entries

_PLACE = re.compile(r"('.*'), action (\d+)")


def criteria(file: File, content: bytes) -> Iterator[Remark]:
    """What is wrong with the ways in which a remediation.yaml has its actions judged."""
    found = list(_actions(file.root))
    if not any(below(node, "evaluation") for _, _, node in found):
        return  # Keptn alone reads it, as far as it tells
    try:
        entries(content)
    except PermanentError as error:
        place = _PLACE.match(str(error))
        at = [n for name, number, n in found if place and place.groups() == (name, number)]
        yield file.remark("evaluation", "error", at[0] if at else file.root, str(error))
    for _, _, action in found:
        judged = below(action, "evaluation")
        for path in (("promql", "query"), ("promql", "evidence"), ("alert", "evidence")):
            query = below(judged, *path)
            for doubt in doubts(text(query)):
                yield file.remark("criterion", "error", query, doubt)


def evidence(file: File, listed: Entries, rules: Sequence[AlertingRule]) -> Iterator[Remark]:
    """Actions after which the judge can never tell, as their alert's rule compares no number."""
    nodes = {(name, number): node for name, number, node in _actions(file.root)}
    for problem_type, number, rule in without_evidence(rules, listed):
        message = (
            f"the judge can't tell: the rule {rule.name} compares no number, and the action"
            " names no evidence"
        )
        node = nodes.get((repr(problem_type), str(number)))
        yield file.remark("evidence", "warning", node or file.root, message)


def is_of_rules(file: File) -> bool:
    """Whether it is a file of Prometheus' rules."""
    return bool(items(below(file.root, "groups")))


def rules_in(file: File) -> list[tuple[yaml.Node, AlertingRule]]:
    """The alerting rules of such a file, with their nodes."""
    return [
        (named, AlertingRule(text(named), text(below(rule, "expr")), _texts(rule)))
        for group in items(below(file.root, "groups"))
        for rule in items(below(group, "rules"))
        if (named := below(rule, "alert"))
    ]


def coverage(file: File, listed: Entries) -> Iterator[Remark]:
    """The alerts that no remedy answers."""
    for node, rule in rules_in(file):
        if unanswered([rule], listed):
            message = f"no remedy answers the alert {rule.name}"
            yield file.remark("no-remedy", "warning", node, message)


def _texts(rule: yaml.Node) -> dict[str, str]:
    return {text(key): text(value) for key, value in pairs(below(rule, "annotations"))}


def _actions(root: yaml.Node | None) -> Iterator[tuple[str, str, yaml.Node]]:
    """Problem type and number, as messages have them, and the node of each action."""
    for remediation in items(below(root, "spec", "remediations")):
        name = repr(text(below(remediation, "problemType")))
        for number, node in enumerate(items(below(remediation, "actionsOnOpen")), 1):
            yield name, str(number), node
