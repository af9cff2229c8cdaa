"""The waiting room: three doors, no slot taken inside, and nobody left in it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import orjson
import pytest

from keptn_remedy.engine.slots import Slots
from keptn_remedy.engine.waiting_room import Rest, WaitingRoom
from keptn_remedy.events import stored_trigger
from keptn_remedy.journal import Execution
from keptn_remedy.support.clock import Clock
from keptn_remedy.testing import triggered
from tests.clocks import MovedClock
from tests.waiting import until


def resting(name: str) -> Execution:
    trigger = stored_trigger(orjson.dumps(triggered("act", id=name)))
    return Execution(1, trigger, "act", runs=3)


class Waiters:
    """Executions in a room; `left` has them in the order in which they left it."""

    def __init__(self, slots: int = 9) -> None:
        self.slots = Slots(slots)
        self.room = WaitingRoom(self.slots, Clock())
        self.left: list[str] = []

    async def enter(self, name: str, wait: Awaitable[None]) -> asyncio.Task[None]:
        async def run() -> None:
            self.slots.take()
            await wait
            self.left.append(name)

        inside = len(self.room)
        task = asyncio.create_task(run())
        await until(lambda: len(self.room) > inside)
        return task

    async def for_turn(self, name: str) -> asyncio.Task[None]:
        return await self.enter(name, self.room.until_turn(900))

    async def for_answer(self, name: str) -> asyncio.Task[None]:
        return await self.enter(name, self.room.until_answered(name, 900))


async def test_whoever_has_waited_longest_for_a_turn_is_called_first() -> None:
    waiters = Waiters()
    tasks = [await waiters.for_turn(name) for name in ("a", "b", "c")]
    for _ in tasks:
        waiters.room.call_next()
    await asyncio.gather(*tasks)
    assert waiters.left == ["a", "b", "c"]


async def test_a_turn_calls_one_at_a_time() -> None:
    waiters = Waiters()
    first, second = await waiters.for_turn("a"), await waiters.for_turn("b")
    waiters.room.call_next()
    await first
    await asyncio.sleep(0)
    assert not second.done()
    second.cancel()


async def test_a_turn_is_no_answer_whatever_the_execution_is_called() -> None:
    waiters = Waiters()
    asking = await waiters.for_answer("turn")
    waiting = await waiters.for_turn("b")
    waiters.room.call_next()
    await waiting
    assert not asking.done()
    waiters.room.answered("turn")
    await asking
    assert waiters.left == ["b", "turn"]


async def test_an_answer_for_nobody_is_no_harm() -> None:
    Waiters().room.answered("unknown")


async def test_who_waits_long_enough_leaves_uncalled() -> None:
    waiters = Waiters()
    await asyncio.create_task(waiters.room.until_turn(0))
    assert len(waiters.room) == 0


async def test_who_waits_takes_no_slot_and_takes_one_again_before_it_goes_on() -> None:
    waiters = Waiters(slots=1)
    task = await waiters.for_answer("a")
    assert waiters.slots.free == 1
    waiters.slots.take()
    waiters.room.answered("a")
    await asyncio.sleep(0)
    assert not task.done()
    waiters.slots.give_back()
    await task
    assert waiters.slots.free == 0


async def test_who_is_held_in_a_full_room_keeps_its_slot() -> None:
    waiters = Waiters(slots=2)
    waiters.room = WaitingRoom(waiters.slots, Clock(), most=1)
    first, second = [
        await waiters.enter(name, waiters.room.for_seconds(900)) for name in ("a", "b")
    ]
    assert waiters.slots.free == 1  # so one more may begin, and no further one
    waiters.room.close()
    await asyncio.gather(first, second, return_exceptions=True)
    assert waiters.slots.free == 0
    assert len(waiters.room) == 0


async def test_who_is_to_be_alone_rests_where_the_room_is_full() -> None:
    waiters = Waiters()
    waiters.room = WaitingRoom(waiters.slots, Clock(), most=1)
    held = await waiters.enter("a", waiters.room.for_seconds(900))
    with pytest.raises(Rest):
        await waiters.room.until_alone("b")
    waiters.room.close()
    await asyncio.gather(held, return_exceptions=True)


async def test_a_closed_room_cancels_who_is_inside_and_who_enters() -> None:
    waiters = Waiters()
    inside = await waiters.for_turn("a")
    waiters.room.close()
    entering = asyncio.create_task(waiters.room.until_turn(900))
    for task in (inside, entering):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert len(waiters.room) == 0


async def test_who_is_cancelled_inside_still_has_a_slot_to_give_back_at_its_end() -> None:
    waiters = Waiters(slots=1)
    task = await waiters.for_turn("a")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert waiters.slots.free == 0
    waiters.slots.give_back()
    assert waiters.slots.free == 1


async def test_who_may_be_the_culprit_goes_on_alone_in_the_order_of_arrival() -> None:
    room, going_on = Waiters().room, list[str]()

    async def go_on(name: str) -> None:
        await room.until_alone(name)
        going_on.append(name)

    tasks = [asyncio.create_task(go_on(name)) for name in ("a", "b", "c", "d")]
    await until(lambda: len(room) == 3)
    assert going_on == ["a"]
    tasks[1].cancel()
    room.make_way("b")  # it has not gone on
    await asyncio.gather(tasks[1], return_exceptions=True)
    assert going_on == ["a"]
    room.make_way("a")
    await tasks[2]
    assert going_on == ["a", "c"]
    room.make_way("c")
    await tasks[3]


async def test_who_waits_for_an_answer_is_not_alone() -> None:
    waiters = Waiters()
    room = waiters.room

    async def ask() -> None:
        await room.until_alone("a")
        await room.until_answered("a", 900)

    asking = await waiters.enter("a", ask())
    await room.until_alone("b")
    room.answered("a")
    await asking


async def test_whoever_finds_the_room_full_rests_until_it_may_go_on() -> None:
    room = WaitingRoom(Slots(9), Clock(), most=0)
    for name in ("a", "b"):
        with pytest.raises(Rest) as rest:
            await room.until_answered(name, 900)
        room.rest(resting(name), rest.value, has_begun=True)
    assert (len(room), room.due()) == (2, [])
    room.answered("b")
    (rested,) = room.due()
    assert (rested.id, rested.runs, room.woken.is_set()) == ("b", 3, True)
    room.take_up(rested)
    assert (len(room), room.due()) == (1, [])


async def test_an_answer_that_was_heeded_wakes_nobody_who_rests_for_something_else() -> None:
    """The journal tells it at each look until the execution has ended."""
    clock = MovedClock()
    room = WaitingRoom(Slots(9), clock, most=0)
    room.rest(resting("a"), Rest(clock.monotonic() + 900), has_begun=True)
    room.answered("a")
    assert room.due() == []
    clock.forward(901)
    assert [rested.id for rested in room.due()] == ["a"]


async def test_whoever_rested_long_enough_may_go_on() -> None:
    clock = MovedClock()
    room = WaitingRoom(Slots(9), clock, most=0)
    with pytest.raises(Rest) as rest:
        await room.until_answered("a", 900)
    room.rest(resting("a"), rest.value, has_begun=True)
    clock.forward(901)
    assert [rested.id for rested in room.due()] == ["a"]


async def test_whoever_rests_until_its_turn_comes_in_again_when_there_is_a_place() -> None:
    waiters = Waiters()
    waiters.room = WaitingRoom(waiters.slots, Clock(), most=1)
    first = await waiters.for_turn("a")
    until_when = Clock().monotonic() + 900
    for name in ("b", "c"):
        with pytest.raises(Rest) as rest:
            await waiters.room.until_turn(5, until_when)
        waiters.room.rest(resting(name), rest.value, has_begun=True)
    assert waiters.room.due() == []
    waiters.room.call_next()
    await first
    (rested,) = waiters.room.due()
    assert (rested.id, rested.turn_until) == ("b", until_when)
    waiters.room.close()
