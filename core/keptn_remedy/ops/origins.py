"""Who asked for an execution, and who is told of it: Keptn, the ladder, or nobody."""

from __future__ import annotations

from typing import Any, NamedTuple

from keptn_remedy.events import LADDER, REQUEST


class Origin(NamedTuple):
    """`received` says how the trigger came, `source` who sent it as the event has it. `peer` waits
    for the outcome; it is empty where nobody does. `context` is what the Keptn context stands for.
    """

    received: str
    source: str
    peer: str
    context: str = "Keptn context"


def origin(event: dict[str, Any]) -> Origin:
    """Of the trigger, as it was stored. An event names its source itself: one that Keptn sends
    can't be told from one that was sent by hand.
    """
    source = str(event.get("source", ""))
    if str(event.get("id", "")).startswith(REQUEST):
        return Origin("Requested by an agent, and stored", "", "", "Context")
    if source == LADDER:
        return Origin("Asked for by the ladder, and stored", "", "The ladder", "Episode")
    return Origin("Received, and stored", source, "Keptn")
