"""The engine put together: the parts that carry out executions and undos."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from keptn_remedy.engine.crew import CANCEL_SECONDS
from keptn_remedy.engine.dispatcher import Dispatcher
from keptn_remedy.engine.orders import Orders
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.reporting import Reporting
from keptn_remedy.engine.runner import Runner
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.slots import Slots
from keptn_remedy.engine.taking import Taking
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.undo.scheduler import UndoScheduler
from keptn_remedy.engine.undo.undoer import Undoer
from keptn_remedy.engine.value import Values
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.engine.watchdog import Watchdog
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """The engine of a provider."""

    runtime: Runtime
    dispatcher: Dispatcher
    runner: Runner
    orders: Orders
    undos: UndoScheduler
    watchdog: Watchdog
    room: WaitingRoom
    locks: TargetLocks
    overdue: Overdue

    @classmethod
    def build(
        cls,
        runtime: Runtime,
        registry: Registry,
        guard: Guard,
        values: Values,
        reporting: Reporting,
        pauses: Pauses,
        *,
        max_concurrent: int,
    ) -> Engine:
        """Put the parts together; nothing runs yet."""
        journal, clock, metrics = runtime.journal, runtime.clock, runtime.metrics
        slots, locks, overdue = Slots(max_concurrent), TargetLocks(), Overdue()
        room = WaitingRoom(slots, clock)
        taking = Taking(
            runtime=runtime,
            registry=registry,
            guard=guard,
            values=values,
            room=room,
            locks=locks,
            overdue=overdue,
        )
        runner = Runner(taking, reporting)
        undos = UndoScheduler(journal, Undoer(runtime, registry, guard, locks, overdue), clock)
        return cls(
            runtime=runtime,
            dispatcher=Dispatcher(
                journal,
                runner.run,
                runner.announce,
                slots=slots,
                room=room,
                overdue=overdue,
                clock=clock,
                metrics=metrics,
            ),
            runner=runner,
            orders=Orders(journal, room, pauses, clock=clock, metrics=metrics),
            undos=undos,
            watchdog=Watchdog(clock, overdue, locks, runner.under_way, undos.under_way),
            room=room,
            locks=locks,
            overdue=overdue,
        )

    def look(self) -> None:
        """Look into the journal now: somebody wrote an order into it."""
        self.orders.look()
        self.undos.look()

    def loops(self) -> list[Coroutine[Any, Any, None]]:
        """What runs from the start, beside what acts."""
        return [self.orders.run(), self.watchdog.run(), self.dispatcher.announce_late_ones()]

    def stop(self) -> None:
        """Start nothing new; what arrives stays in the journal."""
        self.dispatcher.stop_starting()
        self.undos.stop()

    async def drain(self, seconds: float, cancel_seconds: float = CANCEL_SECONDS) -> None:
        """Let executions and undos end, and cancel those that don't within that time."""
        await asyncio.gather(
            self.dispatcher.drain(seconds, cancel_seconds),
            self.undos.drain(seconds, cancel_seconds),
        )
