"""The checks of a remediation.yaml (docs/keptn.md#k23, docs/keptn.md#k24)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from pydantic import ValidationError

from keptn_remedy.action import Denied, PermanentError
from keptn_remedy.cli.lint.nodes import File, below, items, pairs, scalars, text
from keptn_remedy.cli.lint.remarks import Remark
from keptn_remedy.registry import Registry
from keptn_remedy.remediation.file import ListedAction
from keptn_remedy.support import validation
from keptn_remedy.support.near_names import near

API_VERSION = "spec.keptn.sh/0.1.4"
_BOOL = "tag:yaml.org,2002:bool"
_PLAIN = {
    _BOOL: "true or false",
    **dict.fromkeys(("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"), "a number"),
}


def remarks(file: File, listed: Sequence[ListedAction], registry: Registry) -> Iterator[Remark]:
    """What is wrong. `listed` are the file's entries in order."""
    yield from _version(file)
    remediations = below(file.root, "spec", "remediations") or below(file.root, "remediations")
    if not items(remediations):
        yield file.remark("no-action", "error", remediations or file.root, "it has no remediations")
    yield from _problem_types(file, items(remediations))
    values = iter(listed)
    for remediation in items(remediations):
        actions = below(remediation, "actionsOnOpen") or below(remediation, "actions")
        known = [next(values) for _ in items(actions)]
        yield from _actions(file, remediation, items(actions), known, registry)


def _version(file: File) -> Iterator[Remark]:
    version = below(file.root, "apiVersion")
    if text(version) != API_VERSION:
        said = f"it is {text(version)!r}" if version else "it is missing"
        message = f"apiVersion must be {API_VERSION}, the only one that Keptn reads; {said}"
        yield file.remark("api-version", "error", version or file.root, message)


def _problem_types(file: File, remediations: Sequence[yaml.Node]) -> Iterator[Remark]:
    seen: dict[str, int] = {}
    for remediation in remediations:
        node = below(remediation, "problemType") or below(remediation, "name")
        name = text(node)
        if name in seen:
            message = f"the problem type {name!r} is also in line {seen[name]}, which wins"
            yield file.remark("duplicate-problem-type", "error", node or remediation, message)
        else:
            seen[name] = remediation.start_mark.line + 1


def _actions(
    file: File,
    remediation: yaml.Node,
    actions: Sequence[yaml.Node],
    known: Sequence[ListedAction],
    registry: Registry,
) -> Iterator[Remark]:
    if not actions:
        yield file.remark("no-action", "error", remediation, "it has no actionsOnOpen")
    for number, (node, entry) in enumerate(zip(actions, known, strict=True)):
        yield from _action(file, node, entry, registry)
        yield from _unquoted(file, below(node, "value"))
        if number:
            message = (
                f"Keptn 0.14 and newer never reach this action, number {number + 1} of"
                f" {entry.problem_type!r}, with their own remediation-service"
            )
            yield file.remark("unreachable-action", "warning", node, message)
            yield from _leaks(file, node, actions[number - 1])


def _action(
    file: File, node: yaml.Node, entry: ListedAction, registry: Registry
) -> Iterator[Remark]:
    named = below(node, "action") or node
    found = registry.entry(entry.action) if entry.action else None
    if found is None:
        spelled = [each for names in registry.names.values() for each in names]
        meant = near(entry.action, spelled)
        there = (
            f"there is no action {entry.action!r}{meant}" if entry.action else "it has no action"
        )
        yield file.remark("unknown-action", "error", named, there)
        return
    if found.off:
        message = f"the action {found.name} is off here: {found.off}"
        yield file.remark("action-off", "warning", named, message)
    try:
        found.value.validate_python({} if entry.value is None else entry.value)
    except ValidationError as error:
        for mistake in error.errors()[:5]:
            yield _misfit(file, node, entry, mistake)
    except (Denied, PermanentError, ValueError, TypeError) as error:
        yield file.remark("value", "error", below(node, "value") or node, str(error))


def _misfit(file: File, node: yaml.Node, entry: ListedAction, mistake: Any) -> Remark:
    place = validation.place(mistake, entry.value)
    value = below(node, "value")
    at = value
    for part in place:
        at = below(at, part) or at
    where = ".".join(map(str, place))
    said = validation.in_words(mistake)
    message = f"the value of {entry.action}: {f'{where}: ' if where else ''}{said}"
    return file.remark("value", "error", at or node, message)


def _unquoted(file: File, value: yaml.Node | None) -> Iterator[Remark]:
    for scalar in scalars(value):
        if scalar.style is None and scalar.tag in _PLAIN:
            read = _PLAIN[scalar.tag]
            message = f'YAML reads {scalar.value} as {read}: write "{scalar.value}"'
            yield file.remark("unquoted", "warning", scalar, message)


def _leaks(file: File, node: yaml.Node, earlier: yaml.Node) -> Iterator[Remark]:
    """What Keptn 0.9 to 0.13, and other providers of get-action, merge into the later value."""
    before, value = below(earlier, "value"), below(node, "value")
    if before is None:
        return
    if value is None:
        message = "without a value of its own it is sent the value of the action before it"
        yield file.remark("leaking-value", "warning", node, message)
        return
    own = {key.value for key, _ in pairs(value)}
    left = [str(key.value) for key, _ in pairs(before) if key.value not in own]
    if own and left:
        message = f"it is also sent {', '.join(left)} of the action before it"
        yield file.remark("leaking-value", "warning", value, message)
