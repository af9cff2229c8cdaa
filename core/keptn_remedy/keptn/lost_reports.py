"""Reports that were acknowledged, and that Keptn did not count: what is missing is sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from typing import Final

from keptn_remedy.events import ActionTriggered, Replies, Report
from keptn_remedy.journal import Journal, Record, Unsent, WholeRecord
from keptn_remedy.keptn.control_plane import ControlPlane, TaskState
from keptn_remedy.keptn.task_ends import AT_ONCE, chunks
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

_WAITING: Final = ("triggered", "started", "waiting", "paused")


class LostReports:
    """Compares what the journal counts as told with what Keptn counted.

    An acknowledgement is no proof: a sidecar answers 200 before it publishes, and may lose the
    event (docs/keptn.md#k9). What Keptn still lists a minute later, it is asked about, once for
    each report.
    """

    def __init__(
        self,
        journal: Journal,
        control_plane: ControlPlane,
        replies: Replies,
        clock: Clock,
        report: Callable[[Unsent], None],
    ) -> None:
        self._journal = journal
        self._control_plane = control_plane
        self._replies = replies
        self._clock = clock
        self._report = report
        # What was told at the last sweep, as pairs of an execution's id and state; and for which of
        # them nothing is missing.
        self._told: set[tuple[str, str]] = set()
        self._settled: set[tuple[str, str]] = set()
        # About which of them Keptn said nothing when it was asked last: these are asked about last.
        self._unanswered: set[tuple[str, str]] = set()

    async def compare(self, listed: Collection[str]) -> None:
        """Compare once, at each sweep; `listed` are the ids of all tasks that Keptn waits for.

        Raises:
            JournalError: the journal can't be used.
        """
        told: dict[tuple[str, str], Record] = {
            (record.id, record.state): record for record in await self._journal.told(listed)
        }
        before, self._told = self._told, set(told)
        self._settled &= self._told
        self._unanswered &= self._told
        left = (self._told & before) - self._settled
        for keys in chunks(sorted(left, key=self._unanswered.__contains__), AT_ONCE):
            tasks = await asyncio.gather(*(self._task(told[key]) for key in keys))
            for key, task in zip(keys, tasks, strict=True):
                if task is None:
                    self._unanswered.add(key)
                    continue
                self._unanswered.discard(key)
                await self._compare(told[key], task)
            if not any(tasks):
                break  # Keptn fails: the rest of the sweep must not wait for each time-out

    async def _task(self, record: Record) -> TaskState | None:
        return await self._control_plane.task(record.project, record.context, record.id)

    async def _compare(self, record: Record, task: TaskState) -> None:
        if task.sequence not in _WAITING:
            return
        whole = await self._journal.record(record.id)
        if whole is None or whole.state != record.state:
            return
        trigger = await self._journal.trigger(record.id)  # which tells of one that can't be read
        missing = self._missing(trigger, whole, task) if trigger else ()
        if not trigger or not missing:
            self._settled.add((record.id, record.state))
            return
        logs.logger().warning(
            "Keptn did not count what it had acknowledged; it is sent again",
            **logs.execution_fields(trigger, whole.action),
            reports=[report.kind for report in missing],
        )
        for unsent in await self._journal.owe_again(whole, missing):
            self._report(unsent)

    def _missing(
        self, trigger: ActionTriggered, record: WholeRecord, task: TaskState
    ) -> list[Report]:
        """The reports that Keptn has not counted, in order."""
        source = self._replies.source
        started, finished = task.count("started", source), task.count("finished", source)
        missing: list[Report] = []
        if not started:
            missing.append(self._replies.started(trigger, self._clock.utc()))
        # One for each `started`: a task with more of those never completes (docs/keptn.md#k14).
        if record.state == "finished" and finished < max(started, 1):
            missing.append(self._finished(trigger, record))
        return missing

    def _finished(self, trigger: ActionTriggered, record: WholeRecord) -> Report:
        return self._replies.finished(
            trigger,
            self._clock.utc(),
            status=record.status or "",
            result=record.result or "",
            message=record.message or "",
            details=record.details,
            attempts=record.attempts,
        )
