"""The control plane of local mode, where there is no Keptn: no question has an answer."""

from __future__ import annotations

from keptn_remedy.action import PermanentError
from keptn_remedy.events import Report
from keptn_remedy.keptn.control_plane import TaskState


class NoControlPlane:
    """Answers None to every question."""

    exists = False

    async def counted(self, report: Report) -> bool:
        return False

    async def open_triggers(self, project: str | None = None) -> None:
        return None

    async def open_ids(self, project: str) -> None:
        return None

    async def open_trigger(self, project: str, task: TaskState) -> None:
        return None

    async def task(self, project: str, context: str, triggered_id: str) -> None:
        return None

    async def progress(self, project: str, context: str, triggered_id: str) -> None:
        return None

    async def running_tasks(self, project: str, stage: str, service: str) -> None:
        return None

    async def services(self, project: str, stage: str) -> None:
        return None

    async def resource(
        self, project: str, stage: str, service: str, name: str, commit: str
    ) -> None:
        raise PermanentError(f"there is no Keptn in local mode, so {name} can't be fetched")

    async def close(self) -> None:
        """Nothing to close."""
