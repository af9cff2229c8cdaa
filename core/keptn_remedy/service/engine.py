"""The engine's parts, put together: the only place of the service that names them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from keptn_remedy.engine.crew import CANCEL_SECONDS
from keptn_remedy.engine.dispatcher import Dispatcher
from keptn_remedy.engine.orders import Orders
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.reporting import Reporting
from keptn_remedy.engine.runner import ExecutionFactory, Runner
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.slots import Slots
from keptn_remedy.engine.still_wanted import ENDED, HasEnded, StillWanted
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.undo.scheduler import UndoScheduler
from keptn_remedy.engine.undo.undoer import Undoer
from keptn_remedy.engine.value import Elsewhere, Values
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.engine.watchdog import Watchdog
from keptn_remedy.events import Replies
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.journal import Execution, JournalError, Unsent, insist
from keptn_remedy.registry import Registry
from keptn_remedy.settings import Settings
from keptn_remedy.support import logs

# How soon an abort is heeded that another replica has noted.
HEED_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """Carries out executions and undos."""

    runtime: Runtime
    guard: Guard
    dispatcher: Dispatcher
    runner: Runner
    undoer: Undoer
    undos: UndoScheduler
    orders: Orders
    watchdog: Watchdog
    waiting_room: WaitingRoom
    locks: TargetLocks
    overdue: Overdue
    ordered: asyncio.Event = field(default_factory=asyncio.Event)

    def look_again(self) -> None:
        """Look in the journal for executions that nobody offered, and for targets that are free."""
        self.dispatcher.look_again()
        self.waiting_room.call_next()

    def execution_of(self, task: asyncio.Task[object]) -> Execution | None:
        """The execution that a task carries out or undoes."""
        return self.dispatcher.execution_of(task) or self.undos.execution_of(task)

    def abort(self, execution_id: str, reason: str) -> None:
        """Stop an execution whose abort is in the journal."""
        self.runner.abort(execution_id, reason)

    def look(self) -> None:
        """Look in the journal now for pauses, verdicts, undos and aborts."""
        self.orders.look()
        self.undos.look()
        self.ordered.set()

    def lose(self) -> None:
        """Stop acting: what this process has claimed is another replica's, or may be."""
        logs.logger().warning("the lease is lost: what runs is left to other replicas")
        self.dispatcher.cut_off()
        self.undos.cut_off()
        # What rests is read again, and forgotten where it is another replica's: its lane is held.
        for execution_id in self.waiting_room.resting:
            self.waiting_room.wake(execution_id)

    async def heed_aborts(self) -> None:
        """Stop executions that other replicas have noted as aborted, those that rest included,
        until cancelled.
        """
        ownership, clock = self.runtime.journal.ownership, self.runtime.clock
        while ownership.is_shared:
            await clock.wait(self.ordered, HEED_SECONDS)
            self.ordered.clear()
            running = [execution.id for execution in self.dispatcher.under_way]
            running += self.waiting_room.resting
            with suppress(JournalError):
                for execution_id, reason in (await ownership.aborted(running)).items():
                    self.abort(execution_id, reason)

    async def reserve_targets(self, sleep: Callable[[float], Awaitable[None]]) -> None:
        """Lock the targets of undos and plans that the last process left unfinished."""
        if self.runtime.journal.ownership.is_shared:
            return  # the journal keeps them locked for whoever takes up what was left
        # Undos first: where a plan and an undo share a target, the plan waits for the undo.
        await insist(self.undos.reserve_targets, sleep)
        await insist(self.runner.reserve_targets, sleep)

    async def run(self) -> None:
        """Start executions and undos, those that the last process left first, until cancelled."""
        self.dispatcher.look_again()
        await asyncio.gather(self.dispatcher.run(), self.undos.run())

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What runs beside them, from the start until cancelled."""
        return [self.orders.run(), self.watchdog.run(), self.heed_aborts()]

    def stop_starting(self) -> None:
        """Start nothing new; what arrives waits in the journal."""
        self.dispatcher.stop_starting()
        self.undos.stop()

    async def drain(self, seconds: float, cancel_seconds: float = CANCEL_SECONDS) -> None:
        """Let what runs end; after `seconds` cancel the rest, and wait for that for
        `cancel_seconds`, at most 2 s.
        """
        limits = seconds, min(CANCEL_SECONDS, cancel_seconds)
        await asyncio.gather(self.dispatcher.drain(*limits), self.undos.drain(*limits))


def build_engine(
    runtime: Runtime,
    registry: Registry,
    replies: Replies,
    report: Callable[[Unsent], None],
    *,
    guard: Guard,
    pauses: Pauses,
    settings: Settings,
    value_of: Elsewhere | None = None,
    has_ended: HasEnded | None = None,
    ended: str = ENDED,
) -> Engine:
    """The engine. `report` is called with each report once it is stored; `value_of` finds the value
    of a trigger outside its event; `has_ended` asks Keptn, where there is one, and `ended` says
    what it means where it says so.
    """
    journal, clock, metrics = runtime.journal, runtime.clock, runtime.metrics
    slots, locks, overdue = Slots(settings.max_concurrent), TargetLocks(), Overdue()
    waiting_room = WaitingRoom(slots, clock)
    factory = ExecutionFactory(
        runtime=runtime,
        registry=registry,
        guard=guard,
        values=Values(runtime, value_of),
        waiting_room=waiting_room,
        still_wanted=StillWanted(
            runtime, waiting_room, has_ended, stale_seconds=settings.stale_after, ended=ended
        ),
        locks=locks,
        overdue=overdue,
    )
    reporting = Reporting(replies, clock, report, settings.logs_errors, settings.answer_aborted)
    runner = Runner(factory, reporting)
    dispatcher = Dispatcher(
        journal,
        runner.run,
        runner.announce,
        reporting,
        slots=slots,
        waiting_room=waiting_room,
        overdue=overdue,
        clock=clock,
        metrics=metrics,
    )
    undoer = Undoer(runtime, registry, guard, locks, overdue)
    undos = UndoScheduler(journal, undoer, clock)
    return Engine(
        runtime=runtime,
        guard=guard,
        dispatcher=dispatcher,
        runner=runner,
        undoer=undoer,
        undos=undos,
        orders=Orders(journal, waiting_room, pauses, clock=clock, metrics=metrics),
        watchdog=Watchdog(clock, overdue, locks, runner.under_way, undos.under_way),
        waiting_room=waiting_room,
        locks=locks,
        overdue=overdue,
    )
