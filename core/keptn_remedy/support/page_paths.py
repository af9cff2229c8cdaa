"""The path of an execution on the page, from its id and back."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote

PREFIX: Final = "/executions/"
# Browsers take `.` and `..` out of a path, escaped or not.
_MARK = "~"


def path_of(execution_id: str) -> str:
    """Where the page shows it."""
    is_marked = execution_id in (".", "..") or execution_id.startswith(_MARK)
    return f"{PREFIX}{_MARK if is_marked else ''}{quote(execution_id, safe='')}"


def id_in(path: str) -> str:
    """The id of the execution that is shown at this path."""
    return id_of(unquote(path.removeprefix(PREFIX)))


def id_of(segment: str) -> str:
    """The id, from what a route has taken out of the path."""
    return segment.removeprefix(_MARK)
