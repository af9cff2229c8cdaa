"""Keptn's tasks: which are open, what was counted for each, and how they ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from keptn_remedy.events import event_type
from keptn_remedy.testing.keptn_task import SCOPE, Received, Task, Ways, text_of


class Tasks:
    """The tasks that a `FakeKeptn` opened, of all projects."""

    def __init__(self, ways: Ways) -> None:
        self.projects: set[str] = set()
        self.services: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        self.by_id: dict[str, Task] = {}
        self.evaluated = True
        self.overtaken_within = 0.0
        self.not_stored: set[str] = set()
        self._ways = ways
        self._open: dict[str, Task] = {}
        self._by_context: defaultdict[tuple[str, str], list[Task]] = defaultdict(list)

    def add(self, trigger: Mapping[str, Any]) -> Task | None:
        """The task of this trigger, opened unless it is known; None when it opens none."""
        task = Task(trigger)
        if task.id in self.by_id:
            return self.by_id[task.id]
        if not task.name or not all(task.scope.values()) or not task.id:
            return None
        self.by_id[task.id] = task
        project, stage, service = task.scope.values()
        if task.is_tracked:
            self._open[task.id] = task
            self._by_context[project, task.context].append(task)
        self.projects.add(project)
        self.services[project, stage].add(service)
        return task

    def of(self, project: str, context: str) -> Sequence[Task]:
        """All tasks of a context, or with an empty context of the project."""
        if context:
            return self._by_context.get((project, context), [])
        tasks = self.by_id.values()
        return [task for task in tasks if task.is_tracked and task.scope["project"] == project]

    def rounds(self, task: Task) -> Sequence[Task]:
        """The tasks of all rounds of the task's context, itself included."""
        return self.of(task.scope["project"], task.context)

    def listed(self, triggered: str, query: Mapping[str, str]) -> list[Task]:
        """The tasks in the list of open triggers."""
        wanted = {name: query[name] for name in SCOPE if query.get(name)}
        event_id = query.get("eventID")
        tasks = self._open.values() if not event_id else filter(None, [self._open.get(event_id)])
        found = [
            task
            for task in tasks
            if text_of(task.trigger, "type") == triggered
            and wanted.items() <= task.scope.items()
            and task.held != "triggered"
        ]
        return found[::-1] if self._ways.is_terse else found

    def is_held_back(self, task: Task) -> bool:
        """Whether the dispatcher holds the task back, since a sequence runs that began before it,
        or may be dispatched first.
        """
        lane = ("project", "stage", "service")[: 2 if self._ways.lane == "stage" else 3]
        return any(
            other.state == "started"
            and all(other.scope[name] == task.scope[name] for name in lane)
            and (other.has_begun or other.triggered_at < task.triggered_at)
            for other in self.by_id.values()
            if other is not task
        )

    def end(self, task: Task, state: Literal["aborted", "timedOut"]) -> None:
        """End the task as Keptn itself does, unless it is complete: it leaves the open list."""
        if task.outcome is None:
            task.ended = state
            self._open.pop(task.id, None)

    def count(self, received: Received) -> None:
        """Add an event to its task, which the controller finds by project, context and trigger."""
        task = self.by_id.get(received.triggeredid)
        if task is None:
            return
        task.is_stored = task.is_stored or received.type not in self.not_stored
        if received.type not in (event_type(task.name, kind) for kind in ("started", "finished")):
            return
        if (received.data["project"], received.context) != (task.scope["project"], task.context):
            return
        started = [answer.at for answer in task.of_kind("started")]
        is_finished = received.kind == "finished"
        if is_finished and started and received.at - max(started) < self.overtaken_within:
            task.is_overtaken = True
        elif not is_finished and any(a.source == received.source for a in task.of_kind("finished")):
            task.is_overtaken = True  # a `started` that was lost, and sent again
        task.answers.append(received)
        if task.outcome is None and task.ended is None and self._ways.complete(task.answers):
            self._complete(task)

    def _complete(self, task: Task) -> None:
        task.outcome = self._ways.judge(task.of_kind("finished"))
        task.evaluated = self.evaluated
        self._open.pop(task.id, None)
        task.done.set()
