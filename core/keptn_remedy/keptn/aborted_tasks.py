"""What Keptn gave up: open executions whose task it no longer waits for."""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final

from keptn_remedy import events
from keptn_remedy.events import Event
from keptn_remedy.events.cloud_event import is_object
from keptn_remedy.journal import Journal, JournalError, OpenTask
from keptn_remedy.keptn.control_plane import ControlPlane
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

ABSENT_ANSWERS: Final = 2
# Whoever told of an abort waits for our answer, at most 5 s (contract §9.1).
TELL_SECONDS: Final = 2.0


class AbortedTasks:
    """Gives executions up by `abort`, which is told the id and the reason, once each.

    What Keptn did not tell changes nothing: a task is gone only when it was listed as open before,
    and is missing in two answers.
    """

    def __init__(
        self,
        journal: Journal,
        control_plane: ControlPlane,
        clock: Clock,
        abort: Callable[[str, str], None],
        *,
        period_seconds: float,
    ) -> None:
        self._journal = journal
        self._control_plane = control_plane
        self._clock = clock
        self._abort = abort
        self._period_seconds = period_seconds
        self._absent: Counter[str] = Counter()

    async def run(self) -> None:
        """Look what is gone every few seconds, for ever."""
        while True:
            with suppress(JournalError):  # whoever writes to it tells that it fails
                await self.look()
            await self._clock.sleep(self._period_seconds)

    async def look(self) -> None:
        """Ask Keptn once about what is open here."""
        accepted_before = self._clock.now() - self._period_seconds
        tasks = [t for t in await self._journal.open_tasks(accepted_before) if t.aborted is None]
        open_here = {task.id for task in tasks}
        self._absent = Counter({id_: n for id_, n in self._absent.items() if id_ in open_here})
        by_project: defaultdict[str, list[OpenTask]] = defaultdict(list)
        for task in tasks:
            by_project[task.project].append(task)
        compared = (self._compare(name, of) for name, of in by_project.items())
        for failure in await asyncio.gather(*compared, return_exceptions=True):
            if failure:
                raise failure

    async def aborted_by(self, event: Event) -> list[str]:
        """Give up what an event tells as aborted; returns the ids of these executions.

        It is the end of a sequence with status `aborted`, newer than the trigger: rounds of a loop
        end under the same context. Keptn must say that it waits no more: its sequences share a
        context, and anybody may send such an event.

        Raises:
            JournalError: it can't be looked up.
        """
        stage = _aborted_stage(event)
        if stage is None or event.time is None:
            return []
        place = (event.data.get("project"), stage, event.text("shkeptncontext"))
        concerned = [
            task
            for task in await self._journal.open_tasks(self._clock.now())
            if (task.project, task.stage, task.context) == place
            and await self._is_of(task, event.data.get("service"), event.time)
        ]
        still_open = await self._still_open(concerned)
        if still_open is None:
            return []  # whoever looks finds out
        return [
            task.id
            for task in concerned
            if task.id not in still_open and await self._give_up(task, "Keptn aborted the sequence")
        ]

    async def _still_open(self, tasks: Sequence[OpenTask]) -> Collection[str] | None:
        """What Keptn waits for in the tasks' project; None where it doesn't tell in time."""
        if not tasks:
            return ()
        with suppress(TimeoutError):
            async with asyncio.timeout(TELL_SECONDS):
                return await self._control_plane.open_ids(tasks[0].project)
        return None

    async def _compare(self, project: str, tasks: Sequence[OpenTask]) -> None:
        ids = await self._control_plane.open_ids(project)
        if ids is None:
            return
        await self._note_listed([task for task in tasks if task.id in ids])
        for task in tasks:
            if task.listed and task.id not in ids:
                await self._miss(task)

    async def _note_listed(self, tasks: Collection[OpenTask]) -> None:
        for task in tasks:
            del self._absent[task.id]
        unheard = [task.id for task in tasks if not task.listed]
        if unheard:
            await self._journal.note_listed(unheard)

    async def _miss(self, task: OpenTask) -> None:
        self._absent[task.id] += 1
        if self._absent[task.id] >= ABSENT_ANSWERS:
            await self._give_up(task, "Keptn no longer waits for it")

    async def _give_up(self, task: OpenTask, reason: str) -> bool:
        if task.aborted is not None or not await self._journal.note_abort(task.id, reason):
            return False
        logs.logger().warning(
            "execution is given up", execution=task.id, keptnContext=task.context, reason=reason
        )
        self._abort(task.id, reason)
        return True

    async def _is_of(self, task: OpenTask, service: object, told_at: datetime) -> bool:
        """Whether it is of that service, and was triggered before."""
        trigger = await self._journal.trigger(task.id)
        if trigger is None or trigger.service != service:
            return False
        triggered_at = events.read_structured(trigger.body).time
        return triggered_at is not None and triggered_at < told_at


def _aborted_stage(event: Event) -> str | None:
    """The stage in which a sequence was aborted; None when the event tells something else."""
    status = event.data.get("status") if is_object(event.data) else None
    match event.type.split("."):
        case ["sh", "keptn", "event", stage, _, "finished"] if status == "aborted":
            return stage
        case _:
            return None
