"""What the Alertmanagers list, compared with the open episodes at start and every minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from keptn_remedy.journal import Episode, Episodes, JournalError, Move
from keptn_remedy.standalone.alertmanager import Listed
from keptn_remedy.standalone.configuration import Configuration, OneSource
from keptn_remedy.standalone.intake import AlertIntake, split
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

EVERY_SECONDS = 60.0
# Acts that are confirmed at the same time share an answer of this age.
SHARED_SECONDS = 1.0


class Listings:
    """The listing of each source, asked at most once a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._asked: dict[str, tuple[float, asyncio.Task[Listed | None]]] = {}

    async def of(self, source: OneSource) -> Listed | None:
        """What its Alertmanagers list; None where none can be asked."""
        asked = self._asked.get(source.name)
        now = self._clock.monotonic()
        if asked is None or now - asked[0] > SHARED_SECONDS:
            if source.alertmanagers is None:
                return None
            asked = now, asyncio.create_task(source.alertmanagers.listed())
            self._asked[source.name] = asked
        return await asyncio.shield(asked[1])


class Reconciling:
    """Opens what fires and nobody told us, and notes what is not listed any more."""

    def __init__(
        self,
        journal: Episodes,
        configuration: Configuration,
        listings: Listings,
        intake: AlertIntake,
        clock: Clock,
        wake: Callable[[], None],
    ) -> None:
        self._journal = journal
        self._configuration = configuration
        self._listings = listings
        self._intake = intake
        self._clock = clock
        self._wake = wake
        self._at_once = asyncio.Event()

    def compare(self) -> None:
        """Compare now."""
        self._at_once.set()

    async def run(self) -> None:
        """Compare at the start and every minute, until cancelled."""
        while True:
            self._at_once.clear()
            for source in list(self._configuration.sources.values()):
                if source.is_asked:
                    await self._compare(source)
            await self._clock.wait(self._at_once, EVERY_SECONDS)

    async def _compare(self, source: OneSource) -> None:
        listed = await self._listings.of(source)
        if listed is None:
            problem = source.alertmanagers.problem if source.alertmanagers else ""
            logs.logger().warning(
                "no Alertmanager can be asked", source=source.name, reason=problem
            )
            return
        try:
            seen, _ = split(source, listed.alerts)
            if seen:
                await self._intake.store(source, seen)
            await self._note_absent(source, listed)
        except JournalError as error:
            logs.logger().error("can't compare episodes", source=source.name, reason=str(error))

    async def _note_absent(self, source: OneSource, listed: Listed) -> None:
        members = await self._journal.fingerprints(source.name)
        for episode in await self._journal.open_episodes(source.name):
            said = listed.says(members.get(episode.handle, frozenset()))
            if said == "absent" and episode.absent_since is None:
                await self._note(episode, self._clock.now())
            elif said in ("firing", "suppressed") and episode.absent_since is not None:
                await self._note(episode, None)

    async def _note(self, episode: Episode, since: float | None) -> None:
        # A time that has to pass first is not cut short.
        waits = episode.state in ("open", "settling")
        due_at = episode.due_at if waits else min(episode.due_at, self._clock.now())
        await self._journal.move(episode, Move({"absent_since": since, "due_at": due_at}))
        self._wake()
