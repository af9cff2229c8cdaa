"""The parts of standalone mode, built and put together: intake, ladder, judge and escalation."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from keptn_remedy.events import Event
from keptn_remedy.journal import JournalError
from keptn_remedy.keptn.transports import Receipt
from keptn_remedy.keptn.transports.inward import Inward
from keptn_remedy.service.duties import Loop
from keptn_remedy.service.engine import Engine
from keptn_remedy.service.foundation import Foundation
from keptn_remedy.standalone.climber import Climber
from keptn_remedy.standalone.configuration import Configuration
from keptn_remedy.standalone.escalation import Escalation
from keptn_remedy.standalone.intake import AlertIntake
from keptn_remedy.standalone.listener import IntakeListener
from keptn_remedy.standalone.listings import Listings, Reconciling
from keptn_remedy.standalone.world import World

DAY_SECONDS, PRUNE_SECONDS = 86_400.0, 600.0
PRUNED_AT_ONCE = 500


class Standalone:
    """What runs instead of an exchange with Keptn. `accept` takes a trigger."""

    def __init__(
        self, base: Foundation, engine: Engine, accept: Callable[[Event], Awaitable[Receipt]]
    ) -> None:
        settings, clock, journal = base.settings, base.clock, base.journal
        self._journal, self._clock = journal, clock
        self._retention_days = settings.retention_days
        channels = base.channels.entries
        self.configuration = Configuration(settings.sources, base.http, clock, channels)
        page_url = str(settings.page_url) if settings.page_url else None

        async def abort(execution_id: str, reason: str) -> None:
            if await base.journal.note_abort(execution_id, reason):
                engine.abort(execution_id, reason)

        listings = Listings(clock)
        self.climber = Climber(
            World(
                journal=journal,
                configuration=self.configuration,
                listings=listings,
                escalation=Escalation(self.configuration, clock, base.metrics, page_url),
                remediations=settings.remediations,
                clock=clock,
                metrics=base.metrics,
                accept=accept,
                abort=abort,
                undo_due=engine.look,
            )
        )
        self.gives_up = self.climber.gives_up
        self._intake = AlertIntake(journal, self.configuration, self.climber.wake, self._compare)
        self._reconciling = Reconciling(
            journal, self.configuration, listings, self._intake, clock, self.climber.wake
        )
        self.listener = IntakeListener(
            settings.intake_host,
            settings.intake_port,
            self.configuration,
            self._intake,
            base.metrics,
            self._compare,
            names=settings.host_names,
        )
        if isinstance(base.peer.transport, Inward):
            base.peer.transport.tell(self.climber.execution_ended)

    def troubles(self) -> Iterator[str]:
        """What is not as it should be, though it serves."""
        if problem := self.configuration.problem:
            yield f"the sources were rejected, earlier ones stay in force: {problem}"
        for name, source in self.configuration.sources.items():
            if source.alertmanagers and (problem := source.alertmanagers.problem):
                yield f"an Alertmanager of source {name} can't be asked: {problem}"

    def _compare(self) -> None:
        self._reconciling.compare()

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[None]:
        """Take messages in until the context is left.

        Raises:
            SourcesError: sources.yaml can't be read, or is invalid.
            OSError: the address can't be bound (in use, or not permitted).
        """
        await self.configuration.begin()
        async with self.listener.serve():
            yield

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What runs for as long as the service lives."""
        return [self.configuration.watch()]

    def duties(self) -> list[Loop]:
        """What one replica does for all."""
        return [self._reconciling.run, self.climber.run, self._prune]

    async def _prune(self) -> None:
        """Forget closed episodes with the executions of their time, until cancelled."""
        kept = self._retention_days * DAY_SECONDS
        while True:
            with suppress(JournalError):
                while await self._journal.prune_episodes(self._clock.now() - kept, PRUNED_AT_ONCE):
                    pass
            await self._clock.sleep(PRUNE_SECONDS)
