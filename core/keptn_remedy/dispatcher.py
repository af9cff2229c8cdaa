"""Many executions: side by side for different services, in turn for the same; and draining."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from keptn_remedy import logs
from keptn_remedy.clock import Clock
from keptn_remedy.journal import Execution, Journal, JournalError
from keptn_remedy.metrics import Metrics

# Keptn gives up a task that nobody started within 10 minutes (contract §4.4).
ANNOUNCE_AFTER_SECONDS = 300.0
ANNOUNCE_EVERY_SECONDS = 10.0
ANNOUNCE_AT_ONCE = 200
AT_ONCE = 1000
JOURNAL_PAUSE_SECONDS = 1.0
CANCEL_SECONDS = 2.0


class Dispatcher:
    """Starts executions, at most `max_concurrent` at once and one per lane.

    An execution whose turn has come is started straight from memory; every other one waits in the
    journal, so that a backlog costs no memory.
    """

    def __init__(
        self,
        journal: Journal,
        run: Callable[[Execution], Awaitable[object]],
        announce: Callable[[Execution], Awaitable[None]],
        *,
        max_concurrent: int,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._journal = journal
        self._run = run
        self._announce = announce
        self._max_concurrent = max_concurrent
        self._clock = clock
        self._metrics = metrics
        self._running: dict[str, Execution] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._busy_lanes: set[str] = set()
        self._backlog = True
        self._newest = 0
        # What is offered while the journal is being asked; None at other times.
        self._arrived: list[Execution] | None = None
        self._draining = False
        self._wake = asyncio.Event()

    @property
    def running(self) -> int:
        """Executions that run now."""
        return len(self._running)

    def offer(self, execution: Execution) -> None:
        """Start a stored execution, at once or when its turn comes."""
        self._newest = max(self._newest, execution.seq)
        if execution.id in self._running:
            return
        if self._arrived is not None:
            self._arrived.append(execution)
        elif self._backlog or not self._has_room or execution.lane in self._busy_lanes:
            self._backlog = True
            self._wake.set()
        else:
            self._start(execution)

    async def run(self) -> None:
        """Fetch what waits in the journal whenever there is room, for ever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._fetch()
            except JournalError:
                await self._clock.sleep(JOURNAL_PAUSE_SECONDS)
                self._wake.set()

    async def announce_late_ones(self) -> None:
        """Tell Keptn in time of executions that wait for their turn, for ever."""
        while True:
            with suppress(JournalError):
                before = self._clock.now() - ANNOUNCE_AFTER_SECONDS
                for execution in await self._journal.unannounced(before, ANNOUNCE_AT_ONCE):
                    await self._announce(execution)
            await self._clock.sleep(ANNOUNCE_EVERY_SECONDS)

    def recover(self) -> None:
        """Take up what the journal holds."""
        self._wake.set()

    def stop_starting(self) -> None:
        """Start nothing new; what arrives stays in the journal."""
        self._draining = True

    async def drain(self, seconds: float) -> None:
        """Let running executions end; cancel those that don't within that time."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            _, stuck = await asyncio.wait(self._tasks, timeout=CANCEL_SECONDS)
            if stuck:
                logs.logger().error("executions ignore their cancellation", count=len(stuck))

    @property
    def _has_room(self) -> bool:
        return not self._draining and len(self._running) < self._max_concurrent

    async def _fetch(self) -> None:
        while self._backlog and self._has_room:
            newest, self._arrived = self._newest, []
            try:
                found, waiting = await self._journal.waiting(
                    min(self._max_concurrent - len(self._running), AT_ONCE),
                    busy=self._busy_lanes,
                    running=[e.seq for e in self._running.values()],
                    upto=newest,
                )
            finally:
                arrived, self._arrived = self._arrived, None
            started = [e for e in found if self._may_start(e) and self._start(e)]
            self._backlog = waiting > sum(e.seq <= newest for e in started)
            for execution in arrived:
                self.offer(execution)
            if not started:
                return

    def _may_start(self, execution: Execution) -> bool:
        return (
            self._has_room
            and execution.id not in self._running
            and execution.lane not in self._busy_lanes
        )

    def _start(self, execution: Execution) -> bool:
        self._busy_lanes.add(execution.lane)
        self._running[execution.id] = execution
        self._metrics.running.set(len(self._running))
        task = asyncio.create_task(self._run_one(execution))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def _run_one(self, execution: Execution) -> None:
        try:
            await self._run(execution)
        finally:
            self._busy_lanes.discard(execution.lane)
            del self._running[execution.id]
            self._metrics.running.set(len(self._running))
            if self._backlog:
                self._wake.set()
