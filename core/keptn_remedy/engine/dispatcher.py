"""The dispatcher: executions side by side for different services, in turn for the same one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from keptn_remedy.engine.crew import CANCEL_SECONDS, Crew
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.slots import Slots
from keptn_remedy.engine.waiting_room import WaitingRoom
from keptn_remedy.journal import PAUSE_SECONDS, Execution, Journal, JournalError
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

# Keptn gives up a task that nobody started within 10 minutes (contract §4.4).
ANNOUNCE_AFTER_SECONDS = 300.0
ANNOUNCE_EVERY_SECONDS = 10.0
ANNOUNCE_AT_ONCE = 200
AT_ONCE = 1000
_ALL = 2**62


class Dispatcher:
    """Starts executions, one per lane and no more than there are slots.

    An execution whose turn has come is started straight from memory; every other one waits in the
    journal, so that a backlog costs no memory.
    """

    def __init__(
        self,
        journal: Journal,
        run: Callable[[Execution], Coroutine[Any, Any, object]],
        announce: Callable[[Execution], Awaitable[None]],
        *,
        slots: Slots,
        room: WaitingRoom,
        overdue: Overdue,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._journal = journal
        self._run = run
        self._announce = announce
        self._slots = slots
        slots.notify(self._note_free_slot)
        self._waiting_room = room
        overdue.notify(self._pass_on_lane)
        self._clock = clock
        self._metrics = metrics
        self._running: dict[str, Execution] = {}
        self._crew = Crew[Execution]("executions", self._note_end)
        self._busy_lanes: dict[str, str] = {}
        self._backlog = True
        self._newest = 0
        # Whether the journal may hold executions that nobody offered.
        self._unseen = True
        # What is offered while the journal is being asked; None at other times.
        self._arrived: list[Execution] | None = None
        self._draining = False
        self._wake = asyncio.Event()

    @property
    def running(self) -> int:
        """How many executions run, waiting ones included."""
        return len(self._running)

    def offer(self, execution: Execution) -> None:
        """Start a stored execution, at once or when its turn comes."""
        self._newest = max(self._newest, execution.seq)
        if execution.id in self._running:
            return
        if self._arrived is not None:
            self._arrived.append(execution)
        elif self._backlog or not self._started(execution):
            self._backlog = True
            if self._has_room:  # else the end of an execution wakes us
                self._wake.set()

    async def run(self) -> None:
        """Fetch executions that wait in the journal whenever a slot is free, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._fetch()
            except JournalError:
                await self._clock.sleep(PAUSE_SECONDS)
                self._wake.set()

    async def announce_late_ones(self) -> None:
        """Report executions that wait long for their turn as started, until cancelled."""
        while True:
            with suppress(JournalError):
                while await self._announce_some() == ANNOUNCE_AT_ONCE:
                    pass
            await self._clock.sleep(ANNOUNCE_EVERY_SECONDS)

    async def _announce_some(self) -> int:
        before = self._clock.now() - ANNOUNCE_AFTER_SECONDS
        late = await self._journal.unannounced(before, ANNOUNCE_AT_ONCE)
        await asyncio.gather(*(self._announce(execution) for execution in late))
        return len(late)

    def recover(self) -> None:
        """Take up what the journal holds and nobody offered."""
        self._backlog = self._unseen = True
        self._wake.set()

    def stop_starting(self) -> None:
        """Start nothing new; what arrives stays in the journal."""
        self._draining = True

    async def drain(self, seconds: float, cancel_seconds: float = CANCEL_SECONDS) -> None:
        """Let running executions end, and cancel those that don't within that time. Those that
        wait are cancelled at once.
        """
        self._waiting_room.close()
        await self._crew.drain(seconds, cancel_seconds)

    @property
    def _has_room(self) -> bool:
        return not self._draining and self._slots.free > 0

    def _note_free_slot(self) -> None:
        if self._backlog:
            self._wake.set()

    async def _fetch(self) -> None:
        while self._backlog and self._has_room:
            everything, self._unseen = self._unseen, False
            newest, self._arrived = _ALL if everything else self._newest, []
            try:
                found, waiting = await self._journal.waiting(
                    min(self._slots.free, AT_ONCE),
                    busy=self._busy_lanes,
                    running=[e.seq for e in self._running.values()],
                    upto=newest,
                )
            except JournalError:
                self._unseen |= everything
                raise
            finally:
                arrived, self._arrived = self._arrived, None
            started = [execution for execution in found if self._started(execution)]
            is_left = waiting > sum(e.seq <= newest for e in started)
            self._unseen |= everything and is_left
            self._backlog = is_left or self._unseen
            for execution in arrived:
                self.offer(execution)
            if not started:
                return

    def _started(self, execution: Execution) -> bool:
        """Start it, unless we drain, its lane is busy, or no slot is free."""
        is_busy = execution.id in self._running or execution.lane in self._busy_lanes
        if self._draining or is_busy or not self._slots.try_take():
            return False
        self._busy_lanes[execution.lane] = execution.id
        self._running[execution.id] = execution
        self._metrics.running.set(len(self._running))
        self._crew.start(execution, self._run(execution))
        return True

    def _pass_on_lane(self, execution: Execution) -> None:
        """The lane of an overdue execution, whose slot stays taken."""
        self._free_lane(execution)
        self._note_free_slot()

    def _free_lane(self, execution: Execution) -> None:
        if self._busy_lanes.get(execution.lane) == execution.id:
            del self._busy_lanes[execution.lane]

    def _note_end(self, execution: Execution, error: BaseException | None) -> None:
        self._free_lane(execution)
        del self._running[execution.id]
        self._metrics.running.set(len(self._running))
        if error:
            fields = logs.execution_fields(execution.trigger, execution.action)
            logs.logger().error("the runner failed", **fields, exc_info=error)
        if self._slots.give_back():
            self._note_free_slot()
