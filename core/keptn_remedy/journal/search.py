"""Finding executions for people: by what they are about, by the beginning of their id."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from keptn_remedy.journal.values import Cursor, Record, State

Lane = tuple[str, str, str]


@dataclass(frozen=True, slots=True)
class Criteria:
    """What executions must match; None matches all. `result` is a result or a status. `since` is
    the Unix time in seconds of the earliest acceptance. `asking`: they wait for a verdict.
    """

    state: State | None = None
    asking: bool = False
    project: str | None = None
    stage: str | None = None
    service: str | None = None
    action: str | None = None
    result: str | None = None
    context: str | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """What open executions wait for, as far as the journal knows. `asking`: the ids of those that
    wait for a verdict, with the Unix time until which, and the verdict by default. `first`: the
    execution at the head of each project, stage and service.
    """

    asking: Mapping[str, tuple[float, Literal["deny", "approve"]]]
    first: Mapping[Lane, str]


class Search(Protocol):
    """Finding executions. As all of `Records`, never in the way of the service."""

    async def search(
        self, criteria: Criteria, *, before: Cursor | None = None, limit: int = 100
    ) -> list[Record]:
        """Executions that match, newest first, from before that one on."""
        ...

    async def ids_from(self, prefix: str, limit: int) -> list[str]:
        """Ids that begin like this, in alphabetical order."""
        ...

    async def event_types(self, ids: Collection[str]) -> Mapping[str, str]:
        """The type of each one's event; without those that are unknown or can't be read."""
        ...

    async def waiting(self) -> Waiting:
        """What open executions wait for."""
        ...
