"""Keptn's shipyard.yaml, as far as a ladder goes by it: its times, and what leads to another round.

As shipyard-controller of Keptn 1.4.5 reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple

import durationpy

from keptn_remedy.action import PermanentError
from keptn_remedy.events.cloud_event import is_array
from keptn_remedy.remediation.file import as_map, as_text
from keptn_remedy.standalone.rules import OnFailed

FILE: Final = "shipyard.yaml"
SEQUENCE: Final = "remediation"


class Rounds(NamedTuple):
    """What a stage says of its remediation sequence. Times are in seconds, None where it says
    nothing. Without `climbs` the first action is the only one.
    """

    wait: float | None
    window: float | None
    climbs: bool
    on_action_failed: OnFailed


def rounds(document: Any, stage: str) -> Rounds | None:
    """What it says of remediations in that stage; None where it has no such sequence.

    Raises:
        PermanentError: it can't be used; the message says why.
    """
    stages = _maps(as_map(as_map(document).get("spec")).get("stages"))
    named = (each for each in stages if as_text(each.get("name")) == stage)
    sequences = (each for found in named for each in _maps(found.get("sequences")))
    sequence = next((each for each in sequences if as_text(each.get("name")) == SEQUENCE), None)
    if sequence is None:
        return None
    evaluations = (
        e for e in _maps(sequence.get("tasks")) if as_text(e.get("name")) == "evaluation"
    )
    evaluation = as_map(next(evaluations, None))
    # A trigger without a selector follows what passed: it leads to no other remedy.
    matches = [
        as_map(as_map(each.get("selector")).get("match"))
        for each in _maps(sequence.get("triggeredOn"))
        if as_text(each.get("event")) == f"{stage}.{SEQUENCE}.finished"
    ]
    return Rounds(
        wait=_seconds(evaluation.get("triggeredAfter"), "triggeredAfter"),
        window=_seconds(as_map(evaluation.get("properties")).get("timeframe"), "timeframe"),
        climbs=any(_fails(each, "evaluation.result") for each in matches),
        on_action_failed="next"
        if any(_fails(each, "action.result") for each in matches)
        else "escalate",
    )


def check(document: Any) -> None:
    """Read what it says of each stage.

    Raises:
        PermanentError: a stage's remediations can't be used; the message says why.
    """
    for stage in _maps(as_map(as_map(document).get("spec")).get("stages")):
        rounds(document, as_text(stage.get("name")))


def _fails(match: Mapping[str, Any], name: str) -> bool:
    """Whether it matches a failed result of that task, which is the last one."""
    return "fail" in (match.get(name), match.get("result"))


def _maps(found: Any) -> Iterator[Mapping[str, Any]]:
    return map(as_map, found if is_array(found) else [])


def _seconds(written: Any, what: str) -> float | None:
    """Of a duration as Go writes it."""
    if written is None:
        return None
    found = -1.0
    if isinstance(written, str):
        with suppress(durationpy.DurationError):
            found = durationpy.from_str(written).total_seconds()
    if found < 0:
        example = "such as 90s, 15m or 1.5h"
        raise PermanentError(f"{what} of evaluation must be a duration, {example}, not {written!r}")
    return found
