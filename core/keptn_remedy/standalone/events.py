"""The trigger of a rung: the event that Keptn would send for it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from keptn_remedy.events import LADDER, TRIGGERED, Event, read_structured
from keptn_remedy.events.cloud_event import write_structured
from keptn_remedy.journal import Episode, Rung
from keptn_remedy.standalone.rules import Remedy

_MOST_LABELS = 50
_MOST_CHARACTERS = 1_000


def trigger_event(episode: Episode, rung: Rung, remedy: Remedy, now: datetime) -> Event:
    """The `action.triggered` of a rung, with its own value and nothing of earlier rungs. Its Keptn
    context is the episode's id: so undos and rails know what belongs to one problem.
    """
    action: dict[str, Any] = {"action": remedy.action, "name": remedy.name}
    if remedy.description:
        action["description"] = remedy.description
    if remedy.value is not None:
        action["value"] = remedy.value
    labels = dict(list(episode.labels.items())[:_MOST_LABELS])
    if episode.url:
        labels["Problem URL"] = episode.url
    problem = {
        "problemTitle": episode.name,
        "State": "OPEN",
        "ProblemURL": episode.url,
        "ProblemID": episode.id,
        "source": episode.source,
    }
    data = {
        "project": episode.project,
        "stage": episode.stage,
        "service": episode.service,
        "labels": {name: value[:_MOST_CHARACTERS] for name, value in labels.items()},
        "action": action,
        "problem": problem,
        "status": "succeeded",
        "result": "pass",
    }
    attributes = {
        "specversion": "1.0",
        "id": rung.execution,
        "source": LADDER,
        "type": TRIGGERED,
        "datacontenttype": "application/json",
        "time": now,
        "shkeptncontext": episode.id,
    }
    return read_structured(write_structured(attributes, data, legacy=False))
