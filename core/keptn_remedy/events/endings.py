"""Events about the end of a problem or of a sequence."""

from __future__ import annotations

from typing import Final

from keptn_remedy.events.cloud_event import Event, is_object
from keptn_remedy.events.trigger import Problem

PROBLEM: Final = "sh.keptn.events.problem"
_SEQUENCE_PARTS: Final = 6
_CLOSED: Final = ("CLOSED", "RESOLVED")


def is_an_ending(event_type: str) -> bool:
    """Whether it is one of the other types that the chart may subscribe to: problems, and ends of
    sequences. Those have six parts; the end of a task has five (docs/keptn.md#k41).
    """
    parts = event_type.split(".")
    return event_type == PROBLEM or (len(parts) == _SEQUENCE_PARTS and parts[-1] == "finished")


def closed_problem(event: Event) -> str | None:
    """The Keptn context of a closed problem (docs/keptn.md#k45); None for any other event."""
    if event.type != PROBLEM or not is_object(event.data):
        return None
    state = str(Problem(event.data).get("state") or "").upper()
    return event.text("shkeptncontext") or None if state in _CLOSED else None
