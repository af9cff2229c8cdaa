"""Keptn's list of open triggers, read as a whole although its pages repeat (docs/keptn.md#k33)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError

from keptn_remedy.keptn.api import ApiClient, Reply, path_of
from keptn_remedy.keptn.control_plane.answers import ErrorBody, OpenTriggers

# One page must hold the whole list: every release of Keptn fills each page from its front.
PAGE_SIZE: Final = 1_000
# Attempts to read a list that grows meanwhile.
READINGS: Final = 3


class Unlisted(Exception):
    """Keptn doesn't give the list. The message ends a sentence about Keptn's API. `is_refused`: it
    doesn't know us, or has had too many requests.
    """

    def __init__(self, reason: str, *, is_refused: bool = False) -> None:
        super().__init__(reason)
        self.is_refused = is_refused


async def open_events(
    api: ApiClient, event_type: str, query: Mapping[str, str]
) -> Sequence[Mapping[str, Any]]:
    """The events of a type that Keptn waits for, as they were at one moment.

    Raises:
        Unlisted: there is no such list now.
    """
    path, size = f"controlPlane/v1/event/triggered/{path_of(event_type)}", PAGE_SIZE
    for _ in range(READINGS):
        reply = await api.get(path, {**query, "pageSize": str(size)})
        if reply.status != 200:
            raise Unlisted(f"{reply.reason}{_hint(reply)}", is_refused=reply.is_refused)
        try:
            page = OpenTriggers.model_validate_json(reply.body)
        except ValidationError:
            raise Unlisted(f"answered 200 without a list of events{_hint(reply)}") from None
        if page.is_last and page.total <= len(page.items):
            return page.items
        size = max(page.total, size) + PAGE_SIZE
    raise Unlisted("gives a list that grows while it is read")


def _hint(reply: Reply) -> str:
    """What Keptn says besides the status; where that was hardly Keptn, what may be wrong."""
    try:
        said = ErrorBody.model_validate_json(reply.body).said
    except ValidationError:
        is_elsewhere = reply.status in (200, 404) or 300 <= (reply.status or 0) < 400
        return "; Keptn's API usually ends in /api" if is_elsewhere else ""
    return f": {said}" if said else ""
