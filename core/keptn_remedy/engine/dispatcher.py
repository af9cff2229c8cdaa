"""The dispatcher: executions side by side for different services, in turn for the same one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

from keptn_remedy.engine.crew import CANCEL_SECONDS, Crew
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.reporting import Reporting
from keptn_remedy.engine.slots import Slots
from keptn_remedy.engine.waiting_room import Rest, Rested, WaitingRoom
from keptn_remedy.events import ActionTriggered
from keptn_remedy.journal import Execution, Journal, JournalError, NotOwner
from keptn_remedy.journal.feed import Feed
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

# Keptn times a task out that nobody started within 10 minutes (docs/keptn.md#k19).
ANNOUNCE_AFTER_SECONDS = 300.0
ANNOUNCE_EVERY_SECONDS = 10.0
ANNOUNCE_AT_ONCE = 200
TAKE_UP_EVERY_SECONDS = 0.5
BEGINNING_SECONDS = 0.005


class Dispatcher:
    """Starts executions, one per lane and no more than there are slots.

    An execution whose turn has come is started straight from memory; every other one waits in the
    journal, so that a backlog costs no memory (see `Feed`).
    """

    def __init__(
        self,
        journal: Journal,
        run: Callable[[Execution], Coroutine[Any, Any, object]],
        announce: Callable[[Execution], Awaitable[bool]],
        reporting: Reporting,
        *,
        slots: Slots,
        waiting_room: WaitingRoom,
        overdue: Overdue,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._journal = journal
        self._run = run
        self._announce = announce
        self._reporting = reporting
        self._slots = slots
        self._waiting_room = waiting_room
        self._clock = clock
        self._metrics = metrics
        self._running: dict[str, Execution] = {}
        self._crew = Crew[Execution]("executions", self._note_end)
        self._draining = False
        self._is_drained = False
        # How many are being stored that begin by the same step.
        self._beginning = 0
        self._feed = Feed(
            journal.claim, self._start, journal.release, room=self._free_slots, clock=clock
        )
        slots.notify(self._feed.note_room)
        # The claim of an overdue execution, and with it its lane, ended when its end was stored.
        overdue.notify(lambda execution: self._feed.note_room())

    @property
    def running(self) -> int:
        """How many executions run, waiting ones included."""
        return len(self._running)

    @property
    def under_way(self) -> list[Execution]:
        """The executions that run, waiting ones included."""
        return list(self._running.values())

    def execution_of(self, task: asyncio.Task[object]) -> Execution | None:
        """The execution that a task carries out."""
        return self._crew.thing_of(task)

    async def accept(self, trigger: ActionTriggered, action: str) -> bool:
        """Store a trigger, and start its execution at once, or when its turn comes. False: its id
        is known.

        Raises:
            JournalError: it could not be stored.
        """
        if self._feed.is_open and trigger.is_answered:
            return await self._accept_and_begin(trigger, action)
        execution = await self._journal.accept(trigger, action)
        if execution:
            self._feed.offer(execution)
        return execution is not None

    async def _accept_and_begin(self, trigger: ActionTriggered, action: str) -> bool:
        """Begin by the step that stores it: lane and slot are free, and are kept meanwhile."""
        self._slots.take()
        self._beginning += 1
        begun = None
        try:
            started = self._reporting.replies.started(trigger, self._clock.utc())
            begun = await self._journal.accept_and_begin(trigger, action, started)
        finally:
            self._beginning -= 1
            if begun is None or begun.started is None or self._is_drained:
                self._give_slot_back()
        if begun is None:
            return False
        if self._is_drained:
            return True  # the next process takes it up
        if begun.started is None:
            self._feed.offer(begun.execution)
        else:
            self._carry_out(begun.execution)
            self._reporting.send(begun.started)
        return True

    async def run(self) -> None:
        """Fetch executions that wait or rest in the journal whenever they may run, until
        cancelled.
        """
        await asyncio.gather(self._feed.run(), self._take_up_rested())

    async def _take_up_rested(self) -> None:
        room = self._waiting_room
        while True:
            room.woken.clear()
            for rested in room.due():
                with suppress(JournalError):
                    await self._take_up(rested)
            await self._clock.wait(room.woken, TAKE_UP_EVERY_SECONDS)

    async def _take_up(self, rested: Rested) -> None:
        await self._slots.retake()
        execution = None
        try:
            if not self._draining:
                execution = await self._journal.read_again(rested.handle)
                self._waiting_room.take_up(rested)
        finally:
            if execution is None:
                self._slots.lend()
        if execution:
            self._carry_out(rested.again(execution))

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
        # Those that may not be announced now are found again at the next look.
        return sum(await asyncio.gather(*(self._announce(execution) for execution in late)))

    def look_again(self) -> None:
        """Take up what the journal holds and nobody offered."""
        self._feed.look_again()

    def stop_starting(self) -> None:
        """Start nothing new; what arrives stays in the journal."""
        self._draining = True

    async def drain(self, seconds: float, cancel_seconds: float = CANCEL_SECONDS) -> None:
        """Let running executions end, and cancel those that don't within that time. Those that
        wait are cancelled at once.
        """
        self._waiting_room.close()
        monotonic = self._clock.monotonic
        until = monotonic() + seconds
        while self._beginning and monotonic() < until:
            await self._clock.sleep(BEGINNING_SECONDS)
        self._is_drained = True  # nobody would cut off what began from here on
        await self._crew.drain(max(0.0, until - monotonic()), cancel_seconds)

    def cut_off(self) -> None:
        """Cancel what runs, and leave it open: it is not ours any more, or may not be."""
        self._crew.cancel(lambda execution: True)

    def _free_slots(self) -> int:
        return 0 if self._draining else self._slots.free

    def _start(self, execution: Execution) -> None:
        self._carry_out(execution)
        self._slots.take()

    def _carry_out(self, execution: Execution) -> None:
        self._running[execution.id] = execution
        self._metrics.running.set(len(self._running))
        self._crew.start(execution, self._run(execution))

    def _note_end(self, execution: Execution, error: BaseException | None) -> None:
        if not isinstance(error, Rest):  # a claim is all that holds it then
            self._journal.release(execution)
        del self._running[execution.id]
        self._metrics.running.set(len(self._running))
        if isinstance(error, NotOwner):
            fields = logs.execution_fields(execution.trigger, execution.action)
            logs.logger().warning("an execution is left to another replica", **fields)
        elif error and not isinstance(error, Rest):
            fields = logs.execution_fields(execution.trigger, execution.action)
            logs.logger().error("the runner failed", **fields, exc_info=error)
        self._give_slot_back()

    def _give_slot_back(self) -> None:
        if self._slots.give_back():
            self._feed.note_room()
