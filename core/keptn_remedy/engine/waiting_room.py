"""Executions that wait for an approver or for their turn. They take no slot meanwhile."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import NamedTuple

from keptn_remedy.engine.crew import cut_off
from keptn_remedy.engine.slots import Slots
from keptn_remedy.journal import Execution
from keptn_remedy.support.clock import Clock

LOOK_SECONDS = 5.0
REST_SECONDS = 30.0
MOST_INSIDE = 1000


class Rest(BaseException):
    """The execution is to rest in the journal until that time of the monotonic clock: the waiting
    room is full, or a timer runs. No `except Exception` stops it on its way out. `turn_until` is
    how long it waits for a turn, if it does; `has_asked`: it waits for an answer.
    """

    def __init__(
        self, until: float, turn_until: float | None = None, *, has_asked: bool = False
    ) -> None:
        super().__init__("the execution rests in the journal")
        self.until = until
        self.turn_until = turn_until
        self.has_asked = has_asked


class Rested(NamedTuple):
    """What is kept in memory of an execution that rests in the journal."""

    id: str
    handle: int
    runs: int
    until: float
    turn_until: float | None
    has_begun: bool
    has_asked: bool

    def again(self, execution: Execution) -> Execution:
        """The execution, as it was read anew, so that it goes on where it rested."""
        return replace(
            execution, runs=self.runs, has_begun=self.has_begun, turn_until=self.turn_until
        )


class WaitingRoom:
    """Three doors lead out: `answered` wakes the execution whose question has its verdict,
    `call_next` wakes whoever has waited longest for a turn, and through the third one goes alone
    whoever may be what kills the process. Behind each door a slot is waited for.

    Whoever finds `most` inside (1,000) rests in the journal instead, and stays claimed. It is taken
    up again once it may go on, or once there is a place where it can wait for its turn. Who waits
    for nothing but time keeps its slot instead.
    """

    def __init__(self, slots: Slots, clock: Clock, most: int | None = None) -> None:
        self.woken = asyncio.Event()
        self._slots = slots
        self._clock = clock
        self._most = MOST_INSIDE if most is None else most
        self._resting: dict[str, Rested] = {}
        self._due: dict[str, None] = {}
        self._for_answers: dict[str, asyncio.Event] = {}
        # In the order of arrival; a dict, since any of them may leave first.
        self._for_turns: dict[asyncio.Event, None] = {}
        # Who went through the third door, with its task; and who waits there, in order.
        self._alone: tuple[str, asyncio.Task[object]] | None = None
        self._to_be_alone: dict[asyncio.Event, None] = {}
        self._inside: set[asyncio.Task[object]] = set()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._inside) + len(self._resting)

    @property
    def resting(self) -> list[str]:
        """The ids of those that rest in the journal."""
        return list(self._resting)

    @property
    def begun(self) -> list[int]:
        """The handles of those that rest in the journal, and have begun."""
        return [rested.handle for rested in self._resting.values() if rested.has_begun]

    async def until_answered(self, execution_id: str, seconds: float) -> None:
        """Wait until this execution's question has a verdict, at most so long.

        Raises:
            Rest: there is no place.
        """
        self._find_place(seconds, has_asked=True)
        called = self._for_answers[execution_id] = asyncio.Event()
        try:
            await self._wait(called, seconds)
        finally:
            del self._for_answers[execution_id]

    async def until_turn(self, seconds: float, until: float | None = None) -> None:
        """Wait for a turn, at most so long; `until` is when no turn is waited for any more.

        Raises:
            Rest: there is no place.
        """
        self._find_place(seconds, until)
        called = asyncio.Event()
        self._for_turns[called] = None
        try:
            await self._wait(called, seconds)
        finally:
            del self._for_turns[called]

    async def for_seconds(self, seconds: float) -> None:
        """Wait for nothing but time to pass. Where there is no place, the slot is kept meanwhile:
        so no more begin to wait than there are places and slots.
        """
        keeps_slot = len(self._inside) >= self._most
        await self._wait(asyncio.Event(), seconds, keeps_slot=keeps_slot)

    async def until_alone(self, execution_id: str) -> None:
        """Wait until nobody else who went through this door goes on. Whoever did so makes way in
        the end, or when it waits for something else in here.

        Raises:
            Rest: there is no place. What is to be alone has begun in an earlier process.
        """
        self._find_place(REST_SECONDS)
        called, task = asyncio.Event(), _current_task()
        self._to_be_alone[called] = None
        try:
            while self._alone or next(iter(self._to_be_alone)) is not called:
                await self._wait(called, LOOK_SECONDS)
                called.clear()
            self._alone = execution_id, task
        finally:
            del self._to_be_alone[called]
            self._call_next_to_be_alone()

    def make_way(self, execution_id: str) -> None:
        """If this execution went on alone, the next one may."""
        if self._alone and self._alone[0] == execution_id:
            self._alone = None
            self._call_next_to_be_alone()

    def answered(self, execution_id: str) -> None:
        """The question of this execution has a verdict."""
        if called := self._for_answers.get(execution_id):
            called.set()
        # Others rest with an answer that they have heeded long ago, such as for a timer.
        elif (rested := self._resting.get(execution_id)) and rested.has_asked:
            self.wake(execution_id)

    def rest(self, execution: Execution, rest: Rest, *, has_begun: bool) -> None:
        """This execution is not in memory any more, but for what it takes to find it again."""
        self.make_way(execution.id)
        self._resting[execution.id] = Rested(
            execution.id,
            execution.handle,
            execution.runs,
            rest.until,
            rest.turn_until,
            has_begun,
            rest.has_asked,
        )

    def wake(self, execution_id: str) -> None:
        """If it rests, it may go on."""
        if execution_id in self._resting:
            self._due[execution_id] = None
            self.woken.set()

    def due(self) -> list[Rested]:
        """Those that are to be taken up again, the oldest first: they were woken, or their time is
        over, or there is a place for them to wait for their turn.
        """
        now, places = self._clock.monotonic(), self._most - len(self._inside)
        found: list[Rested] = []
        for rested in self._resting.values():
            if rested.id in self._due or rested.until <= now:
                found.append(rested)
            elif rested.turn_until is not None and places > 0:
                found.append(rested)
                places -= 1
        return found

    def take_up(self, rested: Rested) -> None:
        """It rests no more."""
        del self._resting[rested.id]
        self._due.pop(rested.id, None)

    def call_next(self) -> None:
        """Something ended that others wait for: the next one in order looks whether it may act."""
        for called in self._for_turns:
            # One that was called stays in line until it has a slot.
            if not called.is_set():
                called.set()
                return

    def close(self) -> None:
        """Cancel whoever waits, and whoever is about to: none of them has begun to act."""
        self._is_closed = True
        for task in self._inside:
            cut_off(task)

    def _find_place(
        self, seconds: float, turn_until: float | None = None, *, has_asked: bool = False
    ) -> None:
        if len(self._inside) >= self._most and not self._is_closed:
            until = self._clock.monotonic() + seconds if turn_until is None else turn_until
            raise Rest(until, turn_until, has_asked=has_asked)

    async def _wait(
        self, called: asyncio.Event, seconds: float, *, keeps_slot: bool = False
    ) -> None:
        task, has_slot = _current_task(), keeps_slot
        if self._alone and self._alone[1] is task:
            self.make_way(self._alone[0])
        self._inside.add(task)
        if not has_slot:
            self._slots.lend()
        if self._is_closed:
            cut_off(task)
        try:
            await self._clock.wait(called, seconds)
            if not has_slot:
                await self._slots.retake()
                has_slot = True
        finally:
            self._inside.discard(task)
            if not has_slot:
                self._slots.take()  # the end of the execution gives one back

    def _call_next_to_be_alone(self) -> None:
        if self._alone is None:
            for called in self._to_be_alone:
                called.set()
                return


def _current_task() -> asyncio.Task[object]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("only a task can wait")
    return task
