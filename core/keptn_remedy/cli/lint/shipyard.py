"""The checks of a shipyard.yaml: what follows a failed action (docs/keptn.md#k24)."""

from __future__ import annotations

from collections.abc import Iterator

import yaml

from keptn_remedy.cli.lint.nodes import File, below, items, text
from keptn_remedy.cli.lint.remarks import Remark

_TASKS = ("get-action", "action", "evaluation")


def remarks(file: File) -> Iterator[Remark]:
    """What is wrong with the sequences that carry out actions."""
    for stage in items(below(file.root, "spec", "stages")):
        name = text(below(stage, "name"))
        for sequence in items(below(stage, "sequences")):
            tasks = [text(below(task, "name")) for task in items(below(sequence, "tasks"))]
            if "action" in tasks:
                yield from _sequence(file, name, sequence, tasks)


def _sequence(file: File, stage: str, sequence: yaml.Node, tasks: list[str]) -> Iterator[Remark]:
    name = text(below(sequence, "name"))
    if missing := [task for task in _TASKS if task not in tasks]:
        message = f"the sequence {name} has no task {', '.join(missing)}"
        yield file.remark("tasks", "warning", below(sequence, "tasks") or sequence, message)
    event = f"{stage}.{name}.finished"
    if not any(_heeds_a_failed_action(each, event) for each in _triggers(file)):
        message = (
            f"nothing follows a failed action of {stage}.{name}: add a trigger on {event} that"
            ' matches action.result: "fail"'
        )
        yield file.remark("no-action-result-trigger", "warning", sequence, message)


def _triggers(file: File) -> Iterator[yaml.Node]:
    for stage in items(below(file.root, "spec", "stages")):
        for sequence in items(below(stage, "sequences")):
            yield from items(below(sequence, "triggeredOn"))


def _heeds_a_failed_action(trigger: yaml.Node, event: str) -> bool:
    match = below(trigger, "selector", "match")
    is_fail = (
        text(below(match, "action.result")) == "fail" or text(below(match, "result")) == "fail"
    )
    return text(below(trigger, "event")) == event and is_fail
