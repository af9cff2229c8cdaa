"""What the screens of problems read: episodes, their tries, and what opened none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from keptn_remedy.journal import Episodes, Records, WholeEpisode
from keptn_remedy.ops.page.views.ladder import LadderTimes
from keptn_remedy.ops.page.views.problems import (
    IgnoredRow,
    ProblemRow,
    ProblemView,
    ignored_row,
    problem_row,
    problem_view,
)

OPEN_ROWS, CLOSED_ROWS, IGNORED_ROWS = 100, 50, 20


class ReadingOfEpisodes(Episodes, Records, Protocol):
    """What the screens need of a journal."""


class ProblemsView(NamedTuple):
    """The screen Problems. `older` is where the next page of closed ones begins, "" for none."""

    opened: Sequence[ProblemRow]
    closed: Sequence[ProblemRow]
    ignored: Sequence[IgnoredRow]
    older: str
    has_more_open: bool


class Problems:
    """Reads episodes for the page. `times` are those that hold now."""

    def __init__(self, journal: ReadingOfEpisodes, times: Callable[[], LadderTimes]) -> None:
        self._journal = journal
        self._times = times

    async def listed(self, query: Mapping[str, str]) -> ProblemsView:
        """What the screen Problems shows."""
        before = query.get("before", "")
        begin = int(before) if before.isascii() and before.isdigit() and len(before) < 17 else None
        opened = await self._journal.episodes(is_open=True, limit=OPEN_ROWS + 1)
        closed = await self._journal.episodes(is_open=False, before=begin, limit=CLOSED_ROWS + 1)
        ignored = await self._journal.ignored(IGNORED_ROWS)
        is_more = len(closed) > CLOSED_ROWS
        times = self._times()
        return ProblemsView(
            opened=[] if begin else [problem_row(each, times) for each in opened[:OPEN_ROWS]],
            closed=[problem_row(each, times) for each in closed[:CLOSED_ROWS]],
            ignored=[] if begin else [*map(ignored_row, ignored)],
            older=str(closed[CLOSED_ROWS - 1].handle) if is_more else "",
            has_more_open=len(opened) > OPEN_ROWS,
        )

    async def opened(self, limit: int) -> list[ProblemRow]:
        """The newest open ones."""
        times = self._times()
        found = await self._journal.episodes(is_open=True, limit=limit)
        return [problem_row(each, times) for each in found]

    async def given_to_people(self, limit: int) -> list[ProblemRow]:
        """The open ones that a person was told of, the oldest first."""
        times = self._times()
        found = await self._journal.escalated_episodes(limit)
        return [problem_row(each, times) for each in found]

    async def one(self, episode_id: str) -> ProblemView | None:
        """An episode with the executions of its tries; None where there is none of that id."""
        whole = await self._whole(episode_id)
        if whole is None:
            return None
        found = [await self._journal.record(rung.execution) for rung in whole.rungs]
        records = [record for record in found if record]
        return problem_view(whole, records, self._times())

    async def row_of(self, context: str) -> ProblemRow | None:
        """The episode that an execution's context names; None where it names none."""
        whole = await self._whole(context)
        return problem_row(whole.episode, self._times()) if whole else None

    async def _whole(self, episode_id: str) -> WholeEpisode | None:
        found = await self._journal.whole_episode(episode_id)
        # The beginning of an id is enough for a command, but a page has one address.
        return found if found and found.episode.id == episode_id else None
