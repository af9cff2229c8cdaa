"""The control plane of local mode, where there is no Keptn: no question has an answer."""

from __future__ import annotations

import asyncio
from pathlib import Path

from keptn_remedy.action import PermanentError
from keptn_remedy.events import Report
from keptn_remedy.keptn.control_plane import TaskState
from keptn_remedy.keptn.control_plane.files import MOST_BYTES, checked_size


class NoControlPlane:
    """Answers None to every question. `files` is a folder that stands for Keptn's files."""

    exists = False

    def __init__(self, files: Path | None = None) -> None:
        self._files = files

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
    ) -> bytes | None:
        return await asyncio.to_thread(_content, self._folder(name) / name)

    async def resources(self, project: str, stage: str, service: str) -> list[str]:
        return await asyncio.to_thread(_names, self._folder("files"))

    async def close(self) -> None:
        """Nothing to close."""

    def _folder(self, wanted: str) -> Path:
        if self._files is None:
            raise PermanentError(
                f"there is no Keptn here to read {wanted} from;"
                " REMEDY_RESOURCES_DIR may name a folder with it"
            )
        return self._files


def _content(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            return checked_size(path.name, file.read(MOST_BYTES + 1))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise PermanentError(f"{path} can't be read: {error.strerror}") from None


def _names(folder: Path) -> list[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(found)
