"""The role of a journal that keeps episodes: problems that come without Keptn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from keptn_remedy.journal.episode_values import (
    Episode,
    Ignored,
    Member,
    Move,
    OpenMember,
    PersonsWord,
    Rung,
    Score,
    SeenAlert,
    Taken,
    WholeEpisode,
)


class Episodes(Protocol):
    """What intake and ladder store. Every write is durable once it returns; every method raises
    `JournalError` when the journal can't be used.
    """

    async def take_alerts(
        self,
        alerts: Sequence[SeenAlert],
        ignored: Sequence[Ignored] = (),
        *,
        first_look_seconds: float,
        relapse_seconds: float,
    ) -> Taken:
        """Store what a message says, in one transaction. A firing alert opens an episode unless one
        of its key is open, or helped and closed less than `relapse_seconds` ago: then it goes on. A
        new one is looked at after `first_look_seconds`.
        """
        ...

    async def take_word(self, word: PersonsWord, *, by_name: bool) -> int:
        """Store what a person says of open episodes, unless they have said something later: of that
        episode, and with `by_name` of those of the place. Returns of how many it was.
        """
        ...

    async def due_episodes(
        self, now: float, limit: int, *, but: Collection[int] = ()
    ) -> list[Episode]:
        """Open episodes to be looked at by that Unix time, the longest overdue first; but for those
        with these handles.
        """
        ...

    async def next_due(self) -> float | None:
        """The Unix time at which the next episode is due; None where none is open."""
        ...

    async def look_at_execution(self, execution_id: str) -> bool:
        """Have the episode looked at that waits for this execution; False where none does."""
        ...

    async def open_members(self, source: str) -> list[OpenMember]:
        """The fingerprints of the open episodes of a source."""
        ...

    async def compare_with_listing(
        self, firing: Collection[int], absent: Collection[int], *, asked_at: float
    ) -> None:
        """Note what was listed at that Unix time, and what was not, by the handles of episodes.
        What fired since was not absent.
        """
        ...

    async def move(self, episode: Episode, move: Move) -> Episode | None:
        """Store a change, unless the episode has changed since it was read, or another one runs
        that must not: then None.
        """
        ...

    async def members(self, episode: Episode) -> list[Member]:
        """Its fingerprints, as they were last told."""
        ...

    async def rungs(self, episode: Episode) -> list[Rung]:
        """The tries of an episode, the oldest first."""
        ...

    async def opened_between(self, begin: float, end: float, project: str, stage: str) -> int:
        """How many episodes of a stage were opened from one Unix time to another, both included."""
        ...

    async def storm(self, project: str, stage: str) -> tuple[int, int]:
        """How many episodes of a stage run, and how many wait because of a storm."""
        ...

    async def episodes(
        self, *, is_open: bool | None = None, before: int | None = None, limit: int = 100
    ) -> list[Episode]:
        """Episodes, the newest first; `before` is the handle of the last one of the page before."""
        ...

    async def escalated_episodes(self, limit: int) -> list[Episode]:
        """The open episodes that were given to a person, the oldest first."""
        ...

    async def whole_episode(self, episode_id: str) -> WholeEpisode | None:
        """An episode with all that belongs to it, by its id or an unambiguous beginning of it."""
        ...

    async def scores(self, since: float) -> list[Score]:
        """How the tries since that Unix time came out, by service and action."""
        ...

    async def prune_episodes(self, before: float, limit: int) -> int:
        """Forget so many episodes that were closed before that Unix time; returns how many."""
        ...

    async def ignored(self, limit: int) -> list[tuple[Ignored, int, float]]:
        """What opened no episode, how often, and when last (Unix time), the newest first."""
        ...
