"""Finds an action's files among those of service, stage and project, at the trigger's commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial
from typing import Final, Protocol

from keptn_remedy.action import Level, PermanentError, ReadFiles, ResourceNotFound
from keptn_remedy.events import ActionTriggered
from keptn_remedy.keptn.control_plane import CommitUnreadable
from keptn_remedy.keptn.control_plane.files import MOST_BYTES
from keptn_remedy.support import logs

LEVELS: Final[tuple[Level, ...]] = ("service", "stage", "project")
MOST_FILES: Final = 100
_NEWEST: Final = ""

Fetch = Callable[[str, str, str, str, str], Awaitable[bytes | None]]
"""`ControlPlane.resource`."""
Names = Callable[[str, str, str], Awaitable[Sequence[str]]]
"""`ControlPlane.resources`."""


class HoldsFiles(Protocol):
    """The part of a `ControlPlane` that is asked here."""

    async def resource(
        self, project: str, stage: str, service: str, name: str, commit: str
    ) -> bytes | None: ...

    async def resources(self, project: str, stage: str, service: str) -> Sequence[str]: ...


def files_of(keptn: HoldsFiles) -> ReadFiles:
    """How actions read the files that Keptn holds."""
    return ReadFiles(
        partial(read, fetch=keptn.resource),
        partial(read_folder, names=keptn.resources, fetch=keptn.resource),
    )


async def read(trigger: ActionTriggered, uri: str, level: Level | None, fetch: Fetch) -> bytes:
    """The file from the first level that has it, or from the one that is named.

    All levels are asked at the trigger's commit, and then for their newest file: the commit may be
    unknown, or older than the file.

    Raises:
        ResourceNotFound: there is no such file.
        TemporaryError: Keptn can't be asked now.
        PermanentError: the name can't be one, the file is too large, or there is no Keptn.
    """
    name, commit = _checked(uri), trigger.git_commit_id
    levels = (level,) if level else LEVELS
    for at in (commit, _NEWEST) if commit else (_NEWEST,):
        for place in _places(trigger, levels):
            content = await _content(fetch, place, name, at)
            if content is not None:
                if at != commit:
                    fields = {"resource": name, "commit": commit, "event_id": trigger.id}
                    logs.logger().info("read the newest file: the commit has none", **fields)
                return content
    raise ResourceNotFound(
        f"there is no {name} for {_scope(trigger)} (looked at: {', '.join(levels)})"
    )


async def read_folder(
    trigger: ActionTriggered, uri: str, names: Names, fetch: Fetch
) -> dict[str, bytes]:
    """Everything under a folder of the service, by name.

    The files are those of the trigger's commit; where it has none of them, or is unknown, the
    newest. Two commits are never mixed. Keptn lists the newest commit only, so what was deleted
    since the trigger's is not found.

    Raises:
        ResourceNotFound: there is nothing under it.
        TemporaryError: Keptn can't be asked now.
        PermanentError: the name can't be one, or there is too much under it; as `read`.
    """
    folder, commit = _checked(uri.rstrip("/")), trigger.git_commit_id
    place = trigger.project, trigger.stage, trigger.service
    listed = sorted(name for name in await names(*place) if name.startswith(f"{folder}/"))
    if len(listed) > MOST_FILES:
        raise PermanentError(f"{folder} has {len(listed)} files; {MOST_FILES} are the most")
    for at in (commit, _NEWEST) if commit else (_NEWEST,):
        if found := await _contents(fetch, place, listed, at):
            if at != commit:
                fields = {"resource": folder, "commit": commit, "event_id": trigger.id}
                logs.logger().info("read the newest folder: the commit has none", **fields)
            return found
    raise ResourceNotFound(f"there is nothing in a folder {folder} for {_scope(trigger)}")


async def _contents(
    fetch: Fetch, place: tuple[str, str, str], names: Sequence[str], commit: str
) -> dict[str, bytes]:
    """Those of the files that the commit has; none where Keptn can't read it."""
    found, size = dict[str, bytes](), 0
    for name in names:
        try:
            content = await fetch(*place, name, commit)
        except CommitUnreadable:
            return {}
        if content is not None:
            found[name] = content
            size += len(content)
        if size > MOST_BYTES:
            raise PermanentError(f"the folder of {name} has more than {MOST_BYTES} bytes")
    return found


def _scope(trigger: ActionTriggered) -> str:
    return f"{trigger.project}/{trigger.stage}/{trigger.service}"


async def _content(
    fetch: Fetch, place: tuple[str, str, str], name: str, commit: str
) -> bytes | None:
    try:
        return await fetch(*place, name, commit)
    except CommitUnreadable:
        return None


def _places(trigger: ActionTriggered, levels: tuple[Level, ...]) -> Iterator[tuple[str, str, str]]:
    for level in levels:
        stage = "" if level == "project" else trigger.stage
        yield trigger.project, stage, trigger.service if level == "service" else ""


def _checked(uri: str) -> str:
    """The name without a slash in front, as Keptn writes some.

    Raises:
        PermanentError: it leads out of the files of its level.
    """
    name = uri.lstrip("/")
    if not name or not {"", ".", ".."}.isdisjoint(name.split("/")):
        raise PermanentError(f"{uri!r} is no name of a resource")
    return name
