"""What the Alertmanagers list, compared with the open episodes at start and every minute."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import islice

from keptn_remedy.journal import Episodes, JournalError, OpenMember, SeenAlert
from keptn_remedy.standalone.alertmanager import Listed
from keptn_remedy.standalone.configuration import Configuration, OneSource
from keptn_remedy.standalone.intake import AlertIntake, split
from keptn_remedy.standalone.mapping import Alert
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

EVERY_SECONDS = 60.0
# Acts that are confirmed at the same time share an answer of this age.
SHARED_SECONDS = 1.0
STORED_AT_ONCE = 500


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
        # An answer may be shared.
        asked_at = self._clock.now() - SHARED_SECONDS
        listed = await self._listings.of(source)
        if listed is None:
            problem = source.alertmanagers.problem if source.alertmanagers else ""
            logs.logger().warning(
                "no Alertmanager can be asked", source=source.name, reason=problem
            )
            return
        try:
            members = await self._journal.open_members(source.name)
            # What fires on as it is known costs nothing: there may be thousands. What was gone, as
            # nobody told us of its end, fires again.
            known = {each.fingerprint for each in members if each.is_firing and not each.is_absent}
            await self._store(source, listed.alerts(but=known))
            await self._note(listed, members, asked_at)
        except JournalError as error:
            logs.logger().error("can't compare episodes", source=source.name, reason=str(error))

    async def _store(self, source: OneSource, new: Iterator[Alert]) -> None:
        """Store what nobody told us, so many at a time: after an outage it may be thousands."""

        def following() -> tuple[bool, list[SeenAlert]]:
            alerts = [*islice(new, STORED_AT_ONCE)]
            return bool(alerts), split(source, alerts)[0]

        while (found := await asyncio.to_thread(following))[0]:
            if found[1]:
                await self._intake.store(source, found[1])

    async def _note(self, listed: Listed, members: Sequence[OpenMember], asked_at: float) -> None:
        prints: dict[int, set[str]] = {}
        for each in members:
            prints.setdefault(each.episode, set()).add(each.fingerprint)
        said = {handle: listed.says(frozenset(each)) for handle, each in prints.items()}
        firing = [handle for handle, each in said.items() if each in ("firing", "suppressed")]
        gone = [handle for handle, each in said.items() if each == "absent"]
        await self._journal.compare_with_listing(firing, gone, asked_at=asked_at)
        was_absent = {each.episode: each.is_absent for each in members}
        if any(was_absent[each] for each in firing) or not all(was_absent[each] for each in gone):
            self._wake()
