"""Whether too many problems begin at once, and what waits for that."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any, NamedTuple

from keptn_remedy.journal import Episode, Move
from keptn_remedy.standalone import ladder
from keptn_remedy.standalone.rules import LadderRules
from keptn_remedy.standalone.world import World

# All that wait for the same storm share an answer of this age: there may be thousands. None that
# waits for nothing is shared, as one that was admitted would change it.
SHARED_SECONDS = 1.0


class _Storm(NamedTuple):
    """Why problems of a stage wait, and how many; read at that time of the monotonic clock."""

    why: str
    waiting: int
    read_at: float


class Storms:
    """Holds an episode while too many begin at once; after that, while another of them runs."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._lately: dict[tuple[Any, ...], _Storm] = {}
        self._reading = asyncio.Lock()

    async def holds(self, episode: Episode, rules: LadderRules) -> Move | None:
        """What follows for an episode that has to wait; None: it may begin."""
        async with self._reading:  # the others wait for its answer
            storm = await self._now(episode, rules)
        if storm is None:
            return None
        # One of many looks soon enough, however long each of them rests.
        pause = min(ladder.LONGEST_RAIL_PAUSE, max(ladder.HELD_SECONDS, storm.waiting / 10))
        now = self._world.clock.now()
        move = ladder.held(episode, storm.why, now, seconds=pause, rung=None)
        return replace(move, fields={**move.fields, "in_storm": True})

    async def _now(self, episode: Episode, rules: LadderRules) -> _Storm | None:
        now = self._world.clock.monotonic()
        meant = episode.project, episode.stage, episode.in_storm, self._late(episode, rules)
        fresh = {k: v for k, v in self._lately.items() if now - v.read_at < SHARED_SECONDS}
        storm = fresh.get(meant) or await self._read(episode, rules, now)
        self._lately = fresh if storm is None else {**fresh, meant: storm}
        return storm

    def _late(self, episode: Episode, rules: LadderRules) -> float | None:
        """When it was opened, if that is too long ago for what begins now to tell: it was looked at
        late, such as after the service was away.
        """
        is_late = self._world.clock.now() - episode.opened_at > rules.storm_within
        return episode.opened_at if is_late and not episode.in_storm else None

    async def _read(self, episode: Episode, rules: LadderRules, now: float) -> _Storm | None:
        journal, project, stage = self._world.journal, episode.project, episode.stage
        late, within = self._late(episode, rules), rules.storm_within
        end = self._world.clock.now() if late is None else late + within
        begin = end - within if late is None else late - within
        began = await journal.opened_between(begin, end, project, stage)
        if began > rules.storm_episodes:
            most = rules.storm_episodes
            why = f"{began} problems of {stage} began at once, more than {most}"
            return _Storm(why, began, now)
        if not episode.in_storm:
            return None
        running, waiting = await journal.storm(project, stage)
        why = f"problems of {stage} that began at once are remedied one at a time"
        return _Storm(why, waiting, now) if running else None
