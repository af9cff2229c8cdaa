"""Whether Keptn has ended a task: never believed of one answer alone."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator, Sequence
from typing import Final, TypeVar

from keptn_remedy.journal import OpenTask
from keptn_remedy.keptn.control_plane import ControlPlane, Progress
from keptn_remedy.support.clock import Clock

T = TypeVar("T")

# How many tasks Keptn is asked about at the same time.
AT_ONCE: Final = 10
# For so many periods an absence is doubted that nothing else confirms: Keptn was seen to answer 200
# with an empty list while tasks were open.
DOUBTED_PERIODS: Final = 12


class TaskEnds:
    """Compares the list of open triggers with `sequence-execution`.

    A task has ended when it isn't listed as open and its sequence shows that it is over, whether it
    was ever listed or not (docs/keptn.md#k31). Where Keptn shows it nowhere, it must stay absent
    for `DOUBTED_PERIODS` periods of `period_seconds`; in a release without `sequence-execution` for
    one period, if the list has anything else.
    """

    def __init__(self, control_plane: ControlPlane, clock: Clock, *, period_seconds: float) -> None:
        self._control_plane = control_plane
        self._clock = clock
        self._period_seconds = period_seconds
        self._lists = _OpenLists(control_plane, clock)
        # By id, since when (monotonic, in seconds) each answer lacks the task.
        self._absent_since: dict[str, float] = {}

    async def has_ended(
        self, project: str, context: str, id_: str, *, max_age: float = 0.0
    ) -> bool | None:
        """Whether Keptn has ended an open task of ours; None where that is not known now. A list
        will do that is up to `max_age` seconds old.
        """
        listed = await self._lists.of(project, max_age)
        if listed is None:
            return None
        if id_ in listed:
            self._absent_since.pop(id_, None)
            return False
        progress = await self._control_plane.progress(project, context, id_)
        return True if self._is_over(id_, progress, listed) else None

    async def listed(self, project: str) -> Collection[str] | None:
        """The ids that Keptn lists as open; None where it can't be asked."""
        return await self._lists.of(project)

    async def ended_among(
        self,
        missing: Sequence[OpenTask],
        listed: Collection[str],
        *,
        reported: Collection[str] = (),
    ) -> list[OpenTask]:
        """Those tasks that Keptn has ended, of some of one project that it doesn't list.

        `reported`: the ids of those of which an event says that their sequence was aborted, so that
        an absence needs no further confirmation. Without that, a task that Keptn never listed isn't
        ended by absence.
        """
        ended: list[OpenTask] = []
        for tasks in chunks(missing, AT_ONCE):
            found = await asyncio.gather(*map(self._progress, tasks))
            for task, progress in zip(tasks, found, strict=True):
                is_reported = task.id in reported
                if progress in ("absent", "untold") and not (task.listed or is_reported):
                    continue
                if self._is_over(task.id, progress, listed, is_reported=is_reported):
                    ended.append(task)
            if not any(found):
                break  # Keptn fails: the next look goes on
        return ended

    def forget_all_but(self, open_here: Collection[str]) -> None:
        """Remember of no other task for how long it has been absent."""
        self._absent_since = {i: since for i, since in self._absent_since.items() if i in open_here}

    def note_listed(self, listed: Collection[str]) -> None:
        """These are not absent."""
        self._absent_since = {
            i: since for i, since in self._absent_since.items() if i not in listed
        }

    async def _progress(self, task: OpenTask) -> Progress | None:
        return await self._control_plane.progress(task.project, task.context, task.id)

    def _is_over(
        self,
        id_: str,
        progress: Progress | None,
        listed: Collection[str],
        *,
        is_reported: bool = False,
    ) -> bool:
        """Whether a task has ended that isn't listed."""
        if progress in ("ended", "answered"):
            return True
        if progress is None:
            return False
        if progress == "open":  # the two endpoints disagree
            self._absent_since.pop(id_, None)
            return False
        now = self._clock.monotonic()
        absent_seconds = now - self._absent_since.setdefault(id_, now)
        is_likely = progress == "untold" and bool(listed)
        periods = 1 if is_likely else DOUBTED_PERIODS
        return is_reported or absent_seconds >= periods * self._period_seconds


class _OpenLists:
    """Keptn's lists of open triggers by project, asked for once by all who ask together.

    An answer is never older than the question, unless that is allowed: who asks while one is under
    way gets the next.
    """

    def __init__(self, control_plane: ControlPlane, clock: Clock) -> None:
        self._control_plane = control_plane
        self._clock = clock
        # By project, the last answer, and the monotonic time of its question.
        self._last: dict[str, tuple[float, frozenset[str]]] = {}
        self._next: dict[str, asyncio.Task[frozenset[str] | None]] = {}
        self._under_way: dict[str, asyncio.Task[frozenset[str] | None]] = {}

    async def of(self, project: str, max_age: float = 0.0) -> frozenset[str] | None:
        if max_age and (last := self._last.get(project)):
            asked_at, listed = last
            if self._clock.monotonic() - asked_at <= max_age:
                return listed
        asking = self._next.get(project)
        if asking is None:
            asking = asyncio.create_task(self._ask(project, self._under_way.get(project)))
            self._next[project] = asking
        # One of those who wait may be cancelled; the others still want the answer.
        return await asyncio.shield(asking)

    async def _ask(
        self, project: str, before: asyncio.Task[frozenset[str] | None] | None
    ) -> frozenset[str] | None:
        if before:
            await asyncio.wait([before])
        asking = self._under_way[project] = self._next.pop(project)
        asked_at = self._clock.monotonic()
        try:
            listed = await self._control_plane.open_ids(project)
            if listed is not None:
                self._last[project] = asked_at, listed
            return listed
        finally:
            if self._under_way.get(project) is asking:
                del self._under_way[project]


def chunks(items: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """The items, in order, at most so many at a time."""
    return (items[start : start + size] for start in range(0, len(items), size))
