"""What is asked about an episode: whether it fires still, and whether a remedy helped."""

from __future__ import annotations

from keptn_remedy.journal import Episode, Execution, Rung
from keptn_remedy.standalone.alertmanager import Listed
from keptn_remedy.standalone.judge import NOTHING, Before, Subject, Window
from keptn_remedy.standalone.ladder import Confirmation, Finding
from keptn_remedy.standalone.rules import Criterion, LadderRules, Remedy
from keptn_remedy.standalone.world import World


class Facts:
    """Asks the Alertmanagers and the judge of an episode's source."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def confirmation(self, episode: Episode) -> Confirmation:
        """What its Alertmanagers say of it; without any, what its messages say."""
        source = self._world.configuration.sources.get(episode.source)
        if source is None:
            return "unknown"
        if not source.is_asked:
            return "firing" if episode.is_firing else "absent"
        listed: Listed | None = await self._world.listings.of(source)
        if listed is None:
            return "unknown"
        members = await self._world.journal.members(episode)
        quiet = episode.quiet_since
        ago = None if quiet is None else self._world.clock.now() - quiet
        return listed.says(frozenset(each.fingerprint for each in members), ago)

    async def is_unconfirmed(self, execution: Execution) -> bool:
        """Whether what a person was asked about must not act, whatever they said: it is a try of an
        episode that is not confirmed any more, or that somebody takes care of.

        Raises:
            JournalError: the episode can't be read.
        """
        record = await self._world.journal.record(execution.id)
        question = record.question if record else None
        if question is None or question.heeded:
            return False
        whole = await self._world.journal.whole_episode(execution.trigger.context)
        if whole is None or execution.id not in {each.execution for each in whole.rungs}:
            return False
        said = await self.confirmation(whole.episode)
        return said != "firing" or bool(whole.episode.acknowledged)

    async def reading(
        self, episode: Episode, remedy: Remedy | None, rung: Rung | None, rules: LadderRules
    ) -> Finding:
        """What the judge finds now of a try, or of the episode where nothing was tried."""
        criterion = remedy.criterion if remedy else Criterion()
        source = self._world.configuration.sources.get(episode.source)
        ignored = source.rules.ignore_labels if source else ()
        said: Confirmation = "absent"
        if criterion.kind == "alert" and (source is None or source.is_asked):
            said = await self.confirmation(episode)
        subject = Subject(
            name=episode.labels.get("alertname", ""),
            labels={k: v for k, v in episode.labels.items() if k not in ignored},
            is_listed=None if said == "unknown" else said != "absent",
            since=(rung.settled_at or rung.began_at) if rung else episode.opened_at,
        )
        own = remedy.window if remedy else None
        seconds = rules.window if own is None else own
        ends_at = rung.window_ends_at if rung and episode.state == "judging" else None
        before = Before(rung.start_value, (rung.numbers or {}).get("before")) if rung else NOTHING
        judge = self._world.configuration.judge_of(episode.source)
        return await judge.look(criterion, subject, before, Window(ends_at, seconds))
