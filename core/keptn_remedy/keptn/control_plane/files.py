"""Keptn's files, asked of resource-service, or of configuration-service before Keptn 0.18."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from keptn_remedy.action import PermanentError, TemporaryError
from keptn_remedy.keptn.api import ApiClient, Reply, path_of
from keptn_remedy.keptn.control_plane import CommitUnreadable, answers

MOST_BYTES: Final = 1024**2
BEHIND_API: Final = ("resource-service/v1", "configuration-service/v1")
DIRECT: Final = ("v1",)


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
        query = {"gitCommitID": commit} if commit else {}
        failed: list[str] = []
        for at in self._at:
            reply = await self._api.get(f"{at}/{path}", query)
            try:
                content = _content(reply)
            except ValidationError:
                failed.append(f"{at.removesuffix('v1').strip('/')} {reply.reason}".strip())
                if commit and _is_refused(reply):
                    raise CommitUnreadable(f"Keptn can't read commit {commit[:12]}") from None
                continue
            return None if content is None else checked_size(name, content)
        raise TemporaryError(f"Keptn can't be asked for a file: {'; '.join(failed)}")

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()


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
    if reply.status == 404:
        answers.ErrorBody.model_validate_json(reply.body)
        return None
    body = reply.body if reply.status == 200 else b""
    return answers.Resource.model_validate_json(body).content


def _is_refused(reply: Reply) -> bool:
    """Whether Keptn itself answers 500: so it does of a commit that it doesn't know."""
    return reply.status == 500 and answers.is_keptns_error(reply.body)
