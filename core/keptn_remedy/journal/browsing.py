"""What the page asks of a journal, beside what all readers do: filtered pages, counts by hour, what
rails count now.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar, get_args

from keptn_remedy.journal.history import History
from keptn_remedy.journal.protocol import Memories
from keptn_remedy.journal.record_protocol import Records
from keptn_remedy.journal.values import Cursor, Record

T = TypeVar("T")

Result = Literal["pass", "warning", "fail", "errored", "aborted", "refused", "open", "waiting"]
"""What executions are browsed by: how they ended (`refused` is also a `fail` or a `warning`), or
that they have not; `waiting` is for a person."""
RESULTS: tuple[Result, ...] = get_args(Result)


@dataclass(frozen=True, slots=True, kw_only=True)
class Browsed:
    """What executions must have in common to be shown; None stands for any. `since` is the Unix
    time, in seconds, at or after which they were accepted.
    """

    project: str | None = None
    stage: str | None = None
    service: str | None = None
    action: str | None = None
    result: Result | None = None
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Refused:
    """An execution that a rail refused, or the action itself (rail `action`), by which rule."""

    record: Record
    rail: str
    rule: str


@dataclass(frozen=True, slots=True)
class Hour:
    """What finished within an hour, which begins at that Unix time: how many executions ended in
    each way, and how many of those that passed or ended with a warning took up to so many seconds.
    """

    begin: int
    ended: Mapping[str, int]
    took: Mapping[float, int]


TOOK_SECONDS = (1.0, 5.0, 15.0, 60.0, 300.0, 900.0)
"""The bounds of `Hour.took`; what took longer counts under infinity."""


@dataclass(frozen=True, slots=True)
class ActedOn:
    """A target on which an action acted, and for whom, the last time it did. `admitted_at` is a
    Unix time in seconds.
    """

    target: str
    action: str
    project: str
    stage: str
    service: str
    planned: bool
    admitted_at: float


@dataclass(frozen=True, slots=True)
class Names:
    """The projects, stages, services and actions of recent executions, each in order."""

    projects: Sequence[str]
    stages: Sequence[str]
    services: Sequence[str]
    actions: Sequence[str]


class Browsing(Records, Memories, Protocol):
    """Reading for the page. It has a thread and a connection of its own, so that a long look keeps
    nothing of the service waiting. Raises `JournalError` when the journal can't be read.
    """

    async def browse(
        self, browsed: Browsed, *, before: Cursor | None = None, limit: int = 50
    ) -> list[Record]:
        """Executions, newest first, from before that one on."""
        ...

    async def refused(self, since: float, limit: int) -> list[Refused]:
        """The newest executions that were refused at or after that Unix time."""
        ...

    async def hours(self, begins: Sequence[int]) -> list[Hour]:
        """What finished within these hours, oldest first; `begins` are their Unix times."""
        ...

    async def touched(self, since: float, limit: int) -> list[ActedOn]:
        """What was acted on at or after that Unix time, newest first."""
        ...

    async def admitted_at(self, execution_id: str) -> float | None:
        """The Unix time at which an execution was let act, if rails count it."""
        ...

    async def past(self, ask: Callable[[History], T]) -> T:
        """What `ask` returns, asked in the reading thread, with all of the past at one moment."""
        ...

    async def stamp(self) -> object:
        """Something that is another one once anything in the journal has changed."""
        ...

    async def names(self) -> Names:
        """What executions can be browsed by."""
        ...
