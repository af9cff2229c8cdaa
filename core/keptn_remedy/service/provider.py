"""A running provider: what it takes over, whether it is ready, and how it leaves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from keptn_remedy.engine.crew import CANCEL_SECONDS
from keptn_remedy.events import Replies
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.guardrails.policy_file import PolicyFile
from keptn_remedy.guardrails.rails import paused_words
from keptn_remedy.journal import JournalError, insist
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.keptn.aborted_tasks import AbortedTasks
from keptn_remedy.keptn.intake import Intake
from keptn_remedy.keptn.missed_triggers import MissedTriggers
from keptn_remedy.keptn.outbox import GRACE_SECONDS, Outbox
from keptn_remedy.keptn.transports.distributor import Distributor
from keptn_remedy.keptn.transports.http_receiver import HttpReceiver
from keptn_remedy.keptn.transports.local import Local
from keptn_remedy.ops.models import Readiness
from keptn_remedy.ops.port import OpsPort
from keptn_remedy.registry import Registry
from keptn_remedy.service.engine import Engine
from keptn_remedy.settings import Settings
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

# Kept back of the drain for cancelling executions and for sending what they leave.
LEAVE_SECONDS = 5.0
FLUSH_SECONDS = 3.0
# For closing connections and actions, which have time-outs of their own.
CLOSE_SECONDS = 2.0


@dataclass(slots=True, kw_only=True)
class Service:
    """A running provider. `event_port` and `ops_port` are the ports it really listens on; setting
    `reload` has the policy file read at once.
    """

    settings: Settings
    registry: Registry
    journal: SqliteJournal
    policy: PolicyFile
    pauses: Pauses
    transport: Distributor | Local
    receiver: HttpReceiver
    outbox: Outbox
    engine: Engine
    replies: Replies
    aborts: AbortedTasks
    intake: Intake
    sweep: MissedTriggers
    ops: OpsPort
    reload: asyncio.Event
    starting: bool = True
    leaving: bool = False

    @property
    def event_port(self) -> int:
        return self.receiver.port

    @property
    def ops_port(self) -> int:
        return self.ops.port

    async def take_over(self, clock: Clock) -> None:
        """Take up what the last process left, then start executions and send reports, for ever."""
        await insist(self.engine.undos.reserve_targets, clock.sleep)
        await insist(lambda: self.journal.recover(GRACE_SECONDS), clock.sleep)
        await insist(self.engine.runner.reserve_targets, clock.sleep)
        self.engine.dispatcher.recover()
        self.starting = False
        # Not before: what starts now finds the targets of cut-off plans reserved.
        await asyncio.gather(
            self.outbox.run(), self.engine.dispatcher.run(), self.engine.undos.run()
        )

    async def readiness(self) -> Readiness:
        """Whether we have started and can store events, and what someone should look at.

        Keptn is not asked: what it can't be told yet is kept, and ages in a metric of its own.
        """
        # The ops port opens first, to tell how the start goes.
        reasons = ["starting"] if self.starting else []
        reasons += ["leaving"] if self.leaving else []
        degraded: list[str] = []
        if failure := self.journal.failure:
            reasons.append(f"the journal can't be written: {failure}")
        try:
            parked = (await self.journal.backlog()).parked
        except JournalError as error:
            reasons.append(f"the journal can't be read: {error}")
        else:
            if parked:
                degraded.append(f"reports refused by Keptn for good: {parked}")
        if self.policy.problem:
            why = self.policy.problem
            degraded.append(f"the policy was rejected, the last good one holds: {why}")
        if pause := self.pauses.current():
            degraded.append(paused_words(pause))
        return Readiness(ready=not reasons, reasons=reasons, degraded=degraded)

    async def drain(self) -> None:
        """Start nothing new, but store what arrives; let what runs end, and tell Keptn."""
        self.leaving = self.receiver.leaving = True
        self.engine.stop()
        seconds = self.settings.drain_seconds
        try:
            async with asyncio.timeout(seconds - min(CLOSE_SECONDS, seconds / 3)):
                limits = max(seconds - LEAVE_SECONDS, seconds / 3), min(CANCEL_SECONDS, seconds / 6)
                await self.engine.drain(*limits)
                # A Keptn that can't be reached is no reason to stay for the whole drain.
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self.outbox.flush()
        except (TimeoutError, JournalError):
            logs.logger().warning("left before every report was sent; the next process sends them")
