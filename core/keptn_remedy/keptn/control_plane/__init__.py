"""What Keptn can be asked: which tasks it waits for, what it counted, which files it holds.

Every answer has three values. None means that Keptn could not be asked, or that its answer made no
sense; None never means no.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from keptn_remedy.action import TemporaryError
from keptn_remedy.events import Report, ReportKind, event_type
from keptn_remedy.keptn.control_plane.answers import TaskEvent

Progress = Literal["open", "ended", "answered", "absent", "untold"]
"""Where `sequence-execution` has a task (docs/keptn.md#k31): it is the current one of a sequence
that goes on; the current one of a sequence that was aborted or timed out; among those that have
their answers; in no sequence of its context. Or it is untold: this release has no such endpoint.
"""


class CommitUnreadable(TemporaryError):
    """Keptn fails to read a file at a commit, which it may not know."""


@dataclass(frozen=True, slots=True)
class TaskState:
    """A task that Keptn waits for: the state of its sequence, and what was counted for the task."""

    name: str
    triggered_id: str
    sequence: str
    events: tuple[TaskEvent, ...]

    @property
    def event_type(self) -> str:
        """The type of the event that triggered it."""
        return event_type(self.name, "triggered")

    def has(self, kind: ReportKind, source: str) -> bool:
        """Whether that source's event was counted."""
        return self.count(kind, source) > 0

    def count(self, kind: ReportKind, source: str) -> int:
        """How often that source's event was counted."""
        wanted = event_type(self.name, kind)
        return sum(e.type == wanted and e.source == source for e in self.events)


class ControlPlane(Protocol):
    """Keptn's control plane as an action provider sees it."""

    @property
    def exists(self) -> bool:
        """False in local mode, and for Keptn 0.7: nothing needs asking regularly, and what is asked
        has no answer.
        """
        ...

    async def counted(self, report: Report) -> bool | None:
        """Whether Keptn has the report, or its task has ended. None: it can't say at the moment.
        False also where it can't be asked at all.

        Keptn counts a report twice when it is sent twice (docs/keptn.md#k14). So this is asked
        before a report is repeated whose delivery is in doubt.
        """
        ...

    async def open_triggers(self, project: str | None = None) -> Mapping[str, bytes] | None:
        """Every trigger of our tasks that Keptn waits for, by its id, in the form that
        `events.read_structured` takes.

        A list of all projects lacks those that Keptn fails to read. A trigger missing from it is
        not known to be gone.
        """
        ...

    async def open_ids(self, project: str) -> frozenset[str] | None:
        """The ids of all triggers of our tasks of a project that Keptn waits for."""
        ...

    async def open_trigger(self, project: str, task: TaskState) -> bytes | None:
        """The event that triggered a task; None also where it isn't due yet."""
        ...

    async def task(self, project: str, context: str, triggered_id: str) -> TaskState | None:
        """What Keptn counted for a task; None also where it isn't the current one of its sequence.

        Keptn before 0.18 (docs/keptn.md#k30) can't be asked this.
        """
        ...

    async def progress(self, project: str, context: str, triggered_id: str) -> Progress | None:
        """Where Keptn has a task, whether it was ever listed as open or not."""
        ...

    async def running_tasks(
        self, project: str, stage: str, service: str
    ) -> Sequence[TaskState] | None:
        """The current task of each running sequence of a service in a stage."""
        ...

    async def services(self, project: str, stage: str) -> int | None:
        """How many services a stage has."""
        ...

    async def resource(
        self, project: str, stage: str, service: str, name: str, commit: str
    ) -> bytes | None:
        """The content of a service's file at a commit ("" for the newest), or of its stage's or
        project's with "" for the levels below; None where that level has none.

        Raises:
            TemporaryError: Keptn can't be asked now. CommitUnreadable: not for this commit.
            PermanentError: there is no Keptn to ask, or the file is too large.
        """
        ...

    async def resources(self, project: str, stage: str, service: str) -> Sequence[str]:
        """The names of a service's files, without a slash in front; none where there is no such
        service. They are those of the newest commit: Keptn lists no other (docs/keptn.md#k36).

        Raises:
            TemporaryError: Keptn can't be asked now.
            PermanentError: there is no Keptn to ask, or there are too many.
        """
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
