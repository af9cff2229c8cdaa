"""Whether Keptn has dispatched a trigger that it lists: it lists some that it holds back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from keptn_remedy import events
from keptn_remedy.events import Event
from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.keptn.control_plane import ControlPlane, Progress, TaskState


@dataclass(frozen=True, slots=True)
class Place:
    """Where a trigger belongs, and since when Keptn has it."""

    id: str
    context: str
    project: str
    stage: str
    service: str
    triggered_at: datetime | None


def place_of(event: Event) -> Place:
    """Where the event's task belongs; empty names where it doesn't say."""
    data = event.data if is_object(event.data) else {}
    scope = (data.get(level) for level in ("project", "stage", "service"))
    project, stage, service = (name if isinstance(name, str) else "" for name in scope)
    context = event.text("shkeptncontext")
    return Place(event.id, context, project, stage, service, event.time)


# What it means that the task isn't the current one.
_OTHERWISE: Mapping[Progress | None, bool] = {"ended": False, "answered": False}


class Dispatched:
    """Compares a listed trigger with the sequences of its service.

    Keptn before 0.18 shows none, and then each is believed to be dispatched. That is known once it
    was said of one trigger at two looks: a proxy may say so once.
    """

    def __init__(self, control_plane: ControlPlane, source: str) -> None:
        self._control_plane = control_plane
        self._source = source
        self._untold: set[str] = set()
        self._is_old = False

    async def has(self, event: Event) -> bool | None:
        """Whether a provider may begin the event's task now; None where Keptn doesn't say.

        Not where the sequence is paused or waits, and not where we began it and lost the journal.
        """
        place = place_of(event)
        where = place.project, place.context, place.id
        task = await self._control_plane.task(*where)
        if task is None:
            progress = await self._control_plane.progress(*where)
            return self._believes(place.id) if progress == "untold" else _OTHERWISE.get(progress)
        if task.sequence not in ("triggered", "started") or task.has("started", self._source):
            return False
        return bool(task.events) or not await may_be_queued(self._control_plane, place)

    def _believes(self, id_: str) -> bool | None:
        """Whether Keptn shows no sequences; None after the first time that it seems so."""
        if self._is_old or id_ in self._untold:
            self._is_old = True
            self._untold.clear()
            return True
        self._untold.add(id_)
        return None


async def may_be_queued(control_plane: ControlPlane, place: Place) -> bool:
    """Whether Keptn may be holding a trigger back: it dispatches a task of a service only when no
    other sequence of that runs in the stage (docs/keptn.md#k34), and its API doesn't show that.
    """
    running = await control_plane.running_tasks(place.project, place.stage, place.service)
    if running is None:
        return True
    for other in running:
        if other.triggered_id != place.id and await _is_before(control_plane, other, place):
            return True
    return False


async def _is_before(control_plane: ControlPlane, other: TaskState, place: Place) -> bool:
    """Whether the other task runs already, or may be dispatched before the one in question."""
    if other.events:
        return True
    body = await control_plane.open_trigger(place.project, other)
    if body is None:  # Keptn didn't answer, or it isn't due yet (a delayed evaluation)
        return True
    try:
        triggered_at = events.read_structured(body).time
    except events.NotACloudEvent:
        return True
    if triggered_at is None or place.triggered_at is None:
        return True
    return triggered_at < place.triggered_at
