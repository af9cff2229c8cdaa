"""Open executions whose task Keptn has ended: they are aborted here too."""

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
from keptn_remedy.journal import JournalError, OpenTask, Triggers
from keptn_remedy.keptn.control_plane import ControlPlane
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

ABSENT_ANSWERS: Final = 2
# The sender of the event waits at most 5 s for our answer (docs/keptn.md#k1).
ASK_SECONDS: Final = 2.0


class AbortedTasks:
    """Finds executions that Keptn no longer waits for, and calls `abort` once for each, with its id
    and the reason.

    A task counts as ended only when Keptn had listed it as open, and then two answers in a row lack
    it. Where Keptn can't be asked, nothing changes.
    """

    def __init__(
        self,
        journal: Triggers,
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
        # By id, how many answers lacked the task since Keptn listed it.
        self._absent: Counter[str] = Counter()

    async def run(self) -> None:
        """Compare with Keptn every `period_seconds`, until cancelled."""
        while True:
            with suppress(JournalError):  # `journal.maintenance.watch` reports the outage
                await self.compare()
            await self._clock.sleep(self._period_seconds)

    async def compare(self) -> None:
        """Ask Keptn once about each project that has open executions.

        Raises:
            JournalError: the journal can't be used.
        """
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

    async def abort_by_event(self, event: Event) -> list[str]:
        """Abort the executions of a sequence whose end an event reports; returns their ids.

        The event must be the end of a sequence with status `aborted`, and newer than the trigger:
        all rounds of a loop end under the same context. Keptn is asked whether it still waits for
        the task, since sequences share a context and anybody can send such an event.

        Raises:
            JournalError: the journal can't be used.
        """
        stage = _aborted_stage(event)
        if stage is None or event.time is None:
            return []
        place = (event.data.get("project"), stage, event.text("shkeptncontext"))
        concerned = [
            task
            for task in await self._journal.open_tasks(self._clock.now())
            if (task.project, task.stage, task.context) == place
            and await self._was_triggered(task, event.data.get("service"), before=event.time)
        ]
        still_open = await self._still_open(concerned)
        if still_open is None:
            return []  # `compare` finds them later
        return [
            task.id
            for task in concerned
            if task.id not in still_open
            and await self._abort_execution(task, "Keptn aborted the sequence")
        ]

    async def _still_open(self, tasks: Sequence[OpenTask]) -> Collection[str] | None:
        """What Keptn waits for in the tasks' project; None without an answer in time."""
        if not tasks:
            return ()
        with suppress(TimeoutError):
            async with asyncio.timeout(ASK_SECONDS):
                return await self._control_plane.open_ids(tasks[0].project)
        return None

    async def _compare(self, project: str, tasks: Sequence[OpenTask]) -> None:
        ids = await self._control_plane.open_ids(project)
        if ids is None:
            return
        await self._note_listed([task for task in tasks if task.id in ids])
        for task in tasks:
            if task.listed and task.id not in ids:
                await self._note_absent(task)

    async def _note_listed(self, tasks: Collection[OpenTask]) -> None:
        for task in tasks:
            del self._absent[task.id]
        new = [task.id for task in tasks if not task.listed]
        if new:
            await self._journal.note_listed(new)

    async def _note_absent(self, task: OpenTask) -> None:
        self._absent[task.id] += 1
        if self._absent[task.id] >= ABSENT_ANSWERS:
            await self._abort_execution(task, "Keptn no longer waits for it")

    async def _abort_execution(self, task: OpenTask, reason: str) -> bool:
        """Record the abort, then call `abort`. False where it was recorded before, or is over.

        Race: an event and `compare` may find the same task. `note_abort` is true for one of them.
        """
        if task.aborted is not None or not await self._journal.note_abort(task.id, reason):
            return False
        logs.logger().warning(
            "execution aborted", execution=task.id, keptnContext=task.context, reason=reason
        )
        self._abort(task.id, reason)
        return True

    async def _was_triggered(self, task: OpenTask, service: object, *, before: datetime) -> bool:
        """Whether its trigger names that service and is older than `before`."""
        trigger = await self._journal.trigger(task.id)
        if trigger is None or trigger.service != service:
            return False
        triggered_at = events.read_structured(trigger.body).time
        return triggered_at is not None and triggered_at < before


def _aborted_stage(event: Event) -> str | None:
    """The stage in which a sequence was aborted; None for every other event."""
    status = event.data.get("status") if is_object(event.data) else None
    match event.type.split("."):
        case ["sh", "keptn", "event", stage, _, "finished"] if status == "aborted":
            return stage
        case _:
            return None
