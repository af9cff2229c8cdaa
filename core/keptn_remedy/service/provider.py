"""A running provider: its parts, built in order, and its life from take-over to drain."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from keptn_remedy.events import Replies
from keptn_remedy.guardrails import watching
from keptn_remedy.journal import Execution, JournalError, insist, maintenance
from keptn_remedy.keptn.intake import Intake
from keptn_remedy.keptn.outbox import GRACE_SECONDS
from keptn_remedy.keptn.signs_of_life import SignsOfLife
from keptn_remedy.keptn.task_ends import TaskEnds
from keptn_remedy.notifications.sender import Sender
from keptn_remedy.service.blocked_loop import BlockedLoop
from keptn_remedy.service.duties import Loop, on_duty
from keptn_remedy.service.engine import Engine
from keptn_remedy.service.exchange import (
    build_aborted_tasks,
    build_missed_triggers,
    build_outbox,
    engine_of,
)
from keptn_remedy.service.foundation import Foundation
from keptn_remedy.service.notifying import build_notifier
from keptn_remedy.service.ops_port import build_ops_port
from keptn_remedy.service.readiness import Readiness
from keptn_remedy.support import logs

if TYPE_CHECKING:
    from keptn_remedy.ops.agents.door import Door
    from keptn_remedy.service.standalone import Standalone

# What the journal remembers of a process that left in an orderly way.
_LEFT = ("", "left")
# Kept of the drain for cancelling executions and for sending their reports.
LEAVE_SECONDS = 5.0
FLUSH_SECONDS = 3.0
# Kept of it for closing connections and actions, which have time-outs of their own.
CLOSE_SECONDS = 2.0


class Service:
    """A running provider. Setting `reload` has the policy file read at once."""

    def __init__(self, base: Foundation) -> None:
        self._base = base
        self.settings, self.registry, self.reload = base.settings, base.registry, base.reload
        self.journal, self.policy, self.pauses = base.journal, base.policy, base.pauses
        self.uniform = base.peer.uniform
        self._replies = Replies(
            base.settings.source,
            base.settings.mirror_outcome,
            is_legacy=base.settings.keptn_dialect == "0.7",
        )
        self.outbox = build_outbox(base, self._replies)
        task_ends = TaskEnds(
            base.peer.control_plane, base.clock, period_seconds=base.settings.watch_seconds
        )
        gives_up = self._gives_up if base.settings.transport == "standalone" else None
        self.engine = engine_of(base, self._replies, self.outbox, task_ends, gives_up)
        self.engine.orders.notify(self.outbox.look_again)
        self._aborted_tasks = build_aborted_tasks(base, task_ends, self.engine)
        self.intake = Intake(
            base.registry,
            base.journal,
            base.policy,
            self.engine.dispatcher.accept,
            self._aborted_tasks.abort_by_event,
            self.uniform,
        )
        self.standalone = _standalone(base, self.engine, self.intake)
        self._signs_of_life = SignsOfLife(
            base.journal, base.peer.transport.send, self._replies, base.clock, base.metrics
        )
        self._missed_triggers = build_missed_triggers(base, self._replies, self.intake, self.outbox)
        self.sender = Sender(base.mask)
        self._notifier = build_notifier(base, self.sender)
        self.readiness = Readiness(
            base.journal,
            base.policy,
            base.pauses,
            base.peer.transport,
            base.registry.broken,
            self.uniform,
            lambda: self._notifier.troubles,
            self.standalone.troubles if self.standalone else tuple,
        )
        door = _door(base, self.engine, self.intake)
        self.ops = build_ops_port(base, self.engine, self.readiness, self.standalone, door)

    @property
    def event_port(self) -> int | None:
        """The port on which events are received; None where the transport listens on none."""
        return self._base.peer.transport.port

    @property
    def ops_port(self) -> int:
        """The port on which the ops port really listens."""
        return self.ops.port

    def blocked_loop(self) -> BlockedLoop:
        """What watches the event loop that runs now."""
        engine = self.engine
        return BlockedLoop(
            self.registry,
            self._base.metrics,
            engine.execution_of,
            lambda: engine.dispatcher.under_way,
        )

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What runs for as long as the service lives."""
        base, report = self._base, self.outbox.offer
        loops = [
            self._take_over_and_run(),
            *self.engine.loops(),
            watching.watch_pause_file(base.pauses, base.journal, base.clock),
            watching.watch_policy(
                base.policy,
                base.journal,
                base.clock,
                self._replies,
                report,
                base.metrics,
                base.reload,
            ),
            maintenance.watch(
                base.journal,
                base.clock,
                self._replies,
                report,
                self.engine.look_again,
                base.metrics,
            ),
        ]
        if self.uniform:
            loops.append(self.uniform.run())
        if self.standalone:
            loops += self.standalone.loops()
        duties: list[Loop] = [self.engine.dispatcher.announce_late_ones]
        if self.standalone:
            duties += self.standalone.duties()
        if base.peer.control_plane.exists:
            duties += [self._aborted_tasks.run, self._missed_triggers.run, self._signs_of_life.run]
        loops.append(on_duty(base.journal.ownership, base.clock, duties))
        return loops

    async def _take_over_and_run(self) -> None:
        """Take over what the last process left, then start executions and send reports."""
        base = self._base
        sleep, grace = base.clock.sleep, max(GRACE_SECONDS, self.settings.held_seconds)
        clock = base.journal, base.clock, base.metrics.note_clock_step
        await insist(lambda: maintenance.take_over(*clock), sleep)
        await insist(self.journal.rehearse, sleep)
        await insist(lambda: self.journal.recover(grace), sleep)
        ownership = self.journal.ownership
        # Of several replicas some may die at any time.
        if ownership.is_shared or not await insist(lambda: self.journal.recall(*_LEFT), sleep):
            self.engine.runner.seek_culprit()
        await insist(lambda: self.journal.remember(*_LEFT, None), sleep)
        # Before anything starts, which could otherwise take the targets of what was cut off.
        await self.engine.reserve_targets(sleep)
        ownership.notify(self._lose, self._look_again, self.engine.look)
        self.readiness.note_started()
        prune = partial(maintenance.prune, base.journal, base.clock, base.settings.retention_days)
        await asyncio.gather(
            self.outbox.run(),
            self.engine.run(),
            maintenance.watch_clock(*clock),
            on_duty(ownership, base.clock, [prune, self._notifier.run]),
        )

    async def _gives_up(self, execution: Execution) -> bool:
        """Whether the ladder gives up what has waited for a person, without Keptn."""
        return self.standalone is not None and await self.standalone.gives_up(execution)

    def _lose(self) -> None:
        """Leave what this process has claimed to other replicas."""
        self.engine.lose()
        self.outbox.lose()

    def _look_again(self) -> None:
        """Take up what another replica has left."""
        self.engine.look_again()
        self.outbox.look_again()

    async def drain(self) -> None:
        """Start nothing new, but store what arrives; let what runs end, and report it."""
        self.readiness.note_leaving()
        self._base.peer.transport.leave()
        self.engine.stop_starting()
        seconds = self.settings.drain_seconds
        try:
            async with asyncio.timeout(seconds - min(CLOSE_SECONDS, seconds / 3)):
                await self.engine.drain(max(seconds - LEAVE_SECONDS, seconds / 3), seconds / 6)
                await self.engine.runner.leave()
                await self.journal.remember(*_LEFT, True)
                # When Keptn can't be reached, waiting for the whole drain would gain nothing.
                async with asyncio.timeout(FLUSH_SECONDS):
                    await self.outbox.flush()
        except (TimeoutError, JournalError):
            logs.logger().warning("left before every report was sent; the next process sends them")


def _standalone(base: Foundation, engine: Engine, intake: Intake) -> Standalone | None:
    if base.settings.transport != "standalone":
        return None
    from keptn_remedy.service.standalone import Standalone

    return Standalone(base, engine, intake.accept)


def _door(base: Foundation, engine: Engine, intake: Intake) -> Door | None:
    if base.agent_token is None:
        return None
    from keptn_remedy.service.agents import build_door

    return build_door(base, base.agent_token, engine, intake)
