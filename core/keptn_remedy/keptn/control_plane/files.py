"""Keptn's files, asked of resource-service, or of configuration-service before Keptn 0.18."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, TypeVar

from pydantic import ValidationError

from keptn_remedy.action import PermanentError, TemporaryError
from keptn_remedy.keptn.api import ApiClient, Reply, path_of
from keptn_remedy.keptn.control_plane import CommitUnreadable, answers

MOST_BYTES: Final = 1024**2
# configuration-service takes no more; resource-service gives 20 unless it is told.
PAGE_SIZE: Final = 50
MOST_PAGES: Final = 40
BEHIND_API: Final = ("resource-service/v1", "configuration-service/v1")
DIRECT: Final = ("v1",)
T = TypeVar("T")


class Files:
    """The files of projects, stages and services (docs/keptn.md#k36). `at` are the paths where a
    service may answer, the newest first.
    """

    def __init__(self, api: ApiClient, at: tuple[str, ...] = BEHIND_API) -> None:
        self._api = api
        self._at = at

    async def content(
        self, project: str, stage: str, service: str, name: str, commit: str
    ) -> bytes | None:
        """As `ControlPlane.resource`."""
        levels = (("project", project), ("stage", stage), ("service", service))
        place = [part for level in levels if level[1] for part in level]
        path = path_of(*place, "resource", name)
        content = await self._answer(path, {"gitCommitID": commit} if commit else {}, _content)
        return None if content is None else checked_size(name, content)

    async def names(self, project: str, stage: str, service: str) -> list[str]:
        """As `ControlPlane.resources`."""
        path = path_of("project", project, "stage", stage, "service", service, "resource")
        query, found = {"pageSize": str(PAGE_SIZE)}, list[str]()
        for _ in range(MOST_PAGES):
            page = await self._answer(path, query, _page)
            if page is None:
                return []
            found += (each.uri.lstrip("/") for each in page.items)
            if page.is_last:
                return found
            query["nextPageKey"] = page.next
        raise PermanentError(f"{service} has more than {MOST_PAGES * PAGE_SIZE:,} files")

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()

    async def _answer(self, path: str, query: Mapping[str, str], read: Callable[[Reply], T]) -> T:
        """What the first service that answers says; `read` raises ValidationError for nonsense."""
        failed: list[str] = []
        for at in self._at:
            reply = await self._api.get(f"{at}/{path}", query)
            try:
                return read(reply)
            except ValidationError:
                failed.append(f"{at.removesuffix('v1').strip('/')} {reply.reason}".strip())
                if (commit := query.get("gitCommitID")) and _is_refused(reply):
                    raise CommitUnreadable(f"Keptn can't read commit {commit[:12]}") from None
        raise TemporaryError(f"Keptn can't be asked for a file: {'; '.join(failed)}")


def checked_size(name: str, content: bytes) -> bytes:
    """The content, if it isn't too large.

    Raises:
        PermanentError: it is.
    """
    if len(content) > MOST_BYTES:
        raise PermanentError(f"{name} has more than {MOST_BYTES} bytes")
    return content


def _content(reply: Reply) -> bytes | None:
    """The content of a file; None when Keptn itself, not a gateway before it, answers 404.

    Raises:
        ValidationError: the reply is neither.
    """
    body = _found(reply)
    return None if body is None else answers.Resource.model_validate_json(body).content


def _page(reply: Reply) -> answers.ListedResources | None:
    """A page of files; None when Keptn itself says that there is no such service. As `_content`."""
    body = _found(reply)
    return None if body is None else answers.ListedResources.model_validate_json(body)


def _found(reply: Reply) -> bytes | None:
    """The body of a 200, None for Keptn's own 404, and nothing of whatever else was answered.

    Raises:
        ValidationError: the 404 is not Keptn's.
    """
    if reply.status == 404:
        answers.ErrorBody.model_validate_json(reply.body)
        return None
    return reply.body if reply.status == 200 else b""


def _is_refused(reply: Reply) -> bool:
    """Whether Keptn itself answers 500: so it does of a commit that it doesn't know."""
    return reply.status == 500 and answers.is_keptns_error(reply.body)
