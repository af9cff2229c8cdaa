"""Finds an action's file among those of service, stage and project, at the trigger's commit."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Final

from keptn_remedy.action import Level, PermanentError, ResourceNotFound
from keptn_remedy.events import ActionTriggered
from keptn_remedy.keptn.control_plane import CommitUnreadable
from keptn_remedy.support import logs

LEVELS: Final[tuple[Level, ...]] = ("service", "stage", "project")
_NEWEST: Final = ""

Fetch = Callable[[str, str, str, str, str], Awaitable[bytes | None]]
"""`ControlPlane.resource`."""


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
    scope = f"{trigger.project}/{trigger.stage}/{trigger.service}"
    raise ResourceNotFound(f"there is no {name} for {scope} (looked at: {', '.join(levels)})")


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
