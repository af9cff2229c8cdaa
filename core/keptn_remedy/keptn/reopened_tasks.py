"""Executions that were closed as aborted, and that Keptn lists as open again: they are answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection

from keptn_remedy.action import Outcome
from keptn_remedy.events import Replies, Report
from keptn_remedy.journal import ClosedTask, Triggers, Unsent
from keptn_remedy.keptn.control_plane import ControlPlane, Progress
from keptn_remedy.keptn.task_ends import AT_ONCE, chunks
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock


class ReopenedTasks:
    """Finishes them as errored: Keptn would wait without end (docs/keptn.md#k20). `report` is
    called with each stored report.

    Keptn before 0.18 shows no sequences, and then the list alone is believed. That is known once it
    was said of a task at two looks in a row: a proxy may say so once.
    """

    def __init__(
        self,
        journal: Triggers,
        control_plane: ControlPlane,
        clock: Clock,
        replies: Replies,
        report: Callable[[Unsent], None],
    ) -> None:
        self._journal = journal
        self._control_plane = control_plane
        self._clock = clock
        self._replies = replies
        self._report = report
        self._untold: set[str] = set()

    async def answer(self, listed: Collection[str]) -> None:
        """Answer those that are among the ids that Keptn lists as open.

        Raises:
            JournalError: the journal can't be used.
        """
        before, self._untold = self._untold, set()
        for some in chunks(await self._journal.closed_as_aborted(listed), AT_ONCE):
            found = await asyncio.gather(*map(self._progress, some))
            for closed, progress in zip(some, found, strict=True):
                is_started = await self._is_started(closed, progress, before)
                if is_started is not None:
                    await self._answer(closed, is_started=is_started)
            if not any(found):
                break  # Keptn fails: the rest of the sweep must not wait for each time-out

    async def _progress(self, closed: ClosedTask) -> Progress | None:
        trigger = closed.trigger
        return await self._control_plane.progress(trigger.project, trigger.context, trigger.id)

    async def _is_started(
        self, closed: ClosedTask, progress: Progress | None, untold: Collection[str]
    ) -> bool | None:
        """Whether Keptn counted our `started`; None unless it really waits for the task. `untold`:
        of which it said nothing at the last look.
        """
        trigger = closed.trigger
        place = trigger.project, trigger.context, trigger.id
        if progress == "untold":
            self._untold.add(trigger.id)
            return closed.was_started if trigger.id in untold else None
        task = await self._control_plane.task(*place) if progress == "open" else None
        return task.has("started", self._replies.source) if task else None

    async def _answer(self, closed: ClosedTask, *, is_started: bool) -> None:
        trigger, now = closed.trigger, self._clock.utc()
        outcome = Outcome.errored(
            f"it was aborted here, but Keptn lists it as open again: {closed.message}"
        )
        finished = self._replies.finished(
            trigger,
            now,
            status=outcome.status,
            result=outcome.result,
            message=outcome.message,
            details=outcome.details,
        )
        reports: list[Report] = [] if is_started else [self._replies.started(trigger, now)]
        stored = await self._journal.answer_aborted(closed, outcome, [*reports, finished])
        if stored:
            fields = logs.execution_fields(trigger, closed.action)
            logs.logger().error("answered an aborted execution that is open again", **fields)
        for unsent in stored:
            self._report(unsent)
