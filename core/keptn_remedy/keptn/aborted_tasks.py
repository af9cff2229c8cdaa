"""Open executions whose task Keptn has ended: they are aborted here too."""

from __future__ import annotations

import asyncio
import math
from collections import defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Final

from keptn_remedy.events import REQUEST, Event
from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.journal import JournalError, OpenTask, Triggers, lane_of
from keptn_remedy.keptn.task_ends import TaskEnds
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

# The sender of the event waits at most 5 s for our answer (docs/keptn.md#k1).
ASK_SECONDS: Final = 2.0


class AbortedTasks:
    """Finds executions that Keptn no longer waits for, and calls `abort` once for each, with its id
    and the reason. `task_ends` says which these are. Where Keptn can't be asked, nothing changes.
    For `subscribers` and requests Keptn doesn't wait at all. `other_tasks` are the actions for
    other tasks than `action`: Keptn may know nothing of those (docs/keptn.md#k50).
    """

    def __init__(
        self,
        journal: Triggers,
        task_ends: TaskEnds,
        clock: Clock,
        abort: Callable[[str, str], None],
        *,
        period_seconds: float,
        subscribers: Collection[str] = (),
        other_tasks: Collection[str] = (),
    ) -> None:
        self._subscribers = subscribers
        self._other_tasks = other_tasks
        self._journal = journal
        self._task_ends = task_ends
        self._clock = clock
        self._abort = abort
        self._period_seconds = period_seconds

    async def run(self) -> None:
        """Compare with Keptn every `period_seconds`, until cancelled."""
        while True:
            # `journal.maintenance.watch` reports the outage
            with logs.surviving("looking for aborted tasks"), suppress(JournalError):
                await self.compare()
            await self._clock.sleep(self._period_seconds)

    async def compare(self) -> None:
        """Ask Keptn once about each project that has open executions, and then about each execution
        that isn't listed.

        Raises:
            JournalError: the journal can't be used.
        """
        accepted_before = self._clock.now() - self._period_seconds
        tasks = self._awaited(await self._journal.open_tasks(accepted_before))
        self._task_ends.forget_all_but({task.id for task in tasks})
        by_project: defaultdict[str, list[OpenTask]] = defaultdict(list)
        for task in tasks:
            by_project[task.project].append(task)
        compared = (self._compare(name, of) for name, of in by_project.items())
        for failure in await asyncio.gather(*compared, return_exceptions=True):
            if failure:
                raise failure

    async def abort_by_event(self, event: Event) -> list[str]:
        """Abort the executions of a sequence whose end an event reports; returns their ids.

        The event is only a hint to ask Keptn now: sequences share a context, and anybody can send
        such an event.

        Raises:
            JournalError: the journal can't be used.
        """
        stage = _ended_stage(event)
        if stage is None:
            return []
        project, service = event.data.get("project"), event.data.get("service")
        if isinstance(project, str) and isinstance(service, str):
            found = await self._journal.open_tasks_of(lane_of(project, stage, service))
        else:
            found = await self._journal.open_tasks(math.inf)
        place = project, stage, event.text("shkeptncontext")
        concerned = [
            task
            for task in self._awaited(found)
            if (task.project, task.stage, task.context) == place
        ]
        return [
            task.id
            for task in await self._ended_among(concerned, is_aborted=_is_aborted(event))
            if await self._abort_execution(task, "Keptn ended the sequence")
        ]

    def _awaited(self, tasks: Sequence[OpenTask]) -> list[OpenTask]:
        """Those that Keptn waits for, as far as is known here."""
        return [
            task
            for task in tasks
            if task.aborted is None
            and task.action not in self._subscribers
            and not task.id.startswith(REQUEST)
        ]

    async def _ended_among(
        self, tasks: Sequence[OpenTask], *, is_aborted: bool
    ) -> Sequence[OpenTask]:
        """The tasks of one project that have ended; none without an answer in time."""
        if not tasks:
            return ()
        with suppress(TimeoutError):
            async with asyncio.timeout(ASK_SECONDS):
                listed = await self._task_ends.listed(tasks[0].project)
                if listed is not None:
                    missing = [task for task in tasks if task.id not in listed]
                    reported = {task.id for task in missing if is_aborted and self._is_known(task)}
                    return await self._task_ends.ended_among(missing, listed, reported=reported)
        return ()  # `compare` finds them later

    def _is_known(self, task: OpenTask) -> bool:
        """Whether Keptn certainly knows the task, so that its absence says something."""
        return task.listed or task.action not in self._other_tasks

    async def _compare(self, project: str, tasks: Sequence[OpenTask]) -> None:
        listed = await self._task_ends.listed(project)
        if listed is None:
            return
        self._task_ends.note_listed(listed)
        new = [task.id for task in tasks if task.id in listed and not task.listed]
        if new:
            await self._journal.note_listed(new)
        missing = [task for task in tasks if task.id not in listed]
        for task in await self._task_ends.ended_among(missing, listed):
            await self._abort_execution(task, "Keptn no longer waits for it")

    async def _abort_execution(self, task: OpenTask, reason: str) -> bool:
        """Record the abort, then call `abort`. False where it was recorded before, or is over.

        Race: an event and `compare` may find the same task. `note_abort` is true for one of them.
        """
        if not await self._journal.note_abort(task.id, reason):
            return False
        logs.logger().warning(
            "execution aborted", execution=task.id, keptnContext=task.context, reason=reason
        )
        self._abort(task.id, reason)
        return True


def _ended_stage(event: Event) -> str | None:
    """The stage in which a sequence ended; None for every other event."""
    match event.type.split("."):
        case ["sh", "keptn", "event", stage, _, "finished"] if is_object(event.data):
            return stage
        case _:
            return None


def _is_aborted(event: Event) -> bool:
    """Whether a sequence didn't end by itself: after a time-out its status is `errored`."""
    return event.data.get("status") in ("aborted", "errored")
