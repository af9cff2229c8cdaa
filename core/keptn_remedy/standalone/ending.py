"""The end of an episode: confirmed by the judge, unverified, or unknown; and who is told of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from keptn_remedy.guardrails.units import in_words
from keptn_remedy.journal import Episode, Move, Rung
from keptn_remedy.standalone import ladder
from keptn_remedy.standalone.facts import Facts
from keptn_remedy.standalone.rules import LadderRules, remedies
from keptn_remedy.standalone.world import World


class Ending:
    """Closes what is quiet. What is closed unverified is not undone: a person is told instead."""

    def __init__(self, world: World, facts: Facts) -> None:
        self._world = world
        self._journal = world.journal
        self._facts = facts

    async def close(self, episode: Episode, rules: LadderRules) -> Move:
        """What follows for an episode that is quiet, or of which there is no news."""
        now = self._world.clock.now()
        if not ladder.is_quiet(episode, now, rules):
            return self._give_up(episode, now)
        said = await self._facts.confirmation(episode)
        if said == "firing":
            fields: dict[str, Any] = {"quiet_since": None, "absent_since": None}
            return Move({**fields, "due_at": now + ladder.LOOK_SECONDS})
        if said == "unknown" and ladder.is_without_news(episode, now, rules):
            return self._give_up(episode, now)
        if said != "absent":
            return Move({"due_at": now + ladder.HELD_SECONDS})
        rungs = await self._journal.rungs(episode)
        acted = [each for each in rungs if each.acted and each.status == "succeeded"]
        last = acted[-1] if acted else None
        remedy = remedies(episode.remedy)[last.index] if last else None
        reading = await self._facts.reading(episode, remedy, last, rules)
        if episode.told_at is not None:
            await self._world.escalation.end(episode)
        if reading.good:
            return ladder.closed("confirmed", f"closed: {reading.text}", now)
        return await self._unverified(episode, rungs, reading.text, rules)

    async def see_that_it_lasts(self, episode: Episode, rules: LadderRules) -> Move:
        """What follows for an episode that was helped, and fires on: its own criterion finds
        nothing amiss, so that no further remedy is tried, and a person is told.
        """
        now = self._world.clock.now()
        if await self._facts.confirmation(episode) != "firing":
            return ladder.rest(episode, now, rules)
        why = f"it fires on {in_words(rules.relapse)} after the judge said that it was helped"
        return ladder.escalated(why, now)

    async def _unverified(
        self, episode: Episode, rungs: Sequence[Rung], unproven: str, rules: LadderRules
    ) -> Move:
        now = self._world.clock.now()
        if not (left := await self._left(rungs)):
            return ladder.closed("unverified", f"closed, unverified: {unproven}", now)
        why = f"{_names(left)} not undone, as it is unverified that it helped: {unproven}"
        # Posted before the closing is stored, so that a crash in between posts it again: it is the
        # same alert. Channels are told by the notice, which is stored with the closing.
        is_told = await self._world.escalation.tell_left(episode, left, why)
        if not is_told and not ladder.is_quiet(episode, now - rules.confirm_for, rules):
            return Move({"due_at": now + ladder.HELD_SECONDS})
        notice = self._world.escalation.left(episode, left, why)
        return replace(ladder.closed("unverified", why, now), notice=notice)

    def _give_up(self, episode: Episode, now: float) -> Move:
        why = "there was no news of it for too long"
        if episode.escalated_at is None:
            return ladder.escalated(why, now)
        return ladder.closed("unknown", f"closed: {why}", now)

    async def _left(self, rungs: Sequence[Rung]) -> list[Rung]:
        """The tries whose undo waits for a closing that the judge confirms."""
        found: list[Rung] = []
        for each in rungs:
            undo = await self._journal.undo_of(each.execution) if each.acted else None
            if undo and undo.state == "armed" and undo.on_closed:
                found.append(each)
        return found


def _names(rungs: Sequence[Rung]) -> str:
    names = ", ".join(each.action for each in rungs)
    return f"{names} {'is' if len(rungs) == 1 else 'are'}"
