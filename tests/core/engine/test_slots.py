"""Slots: a free one goes to whoever gave one back and wants it again, in order."""

from __future__ import annotations

import asyncio

import pytest

from keptn_remedy.engine.slots import Slots


async def test_a_free_slot_is_retaken_at_once() -> None:
    slots = Slots(1)
    await slots.retake()
    assert slots.free == 0


async def test_each_slot_that_becomes_free_goes_to_the_next_who_waits() -> None:
    slots, order = Slots(0), list[int]()

    async def retake(number: int) -> None:
        await slots.retake()
        order.append(number)

    tasks = [asyncio.create_task(retake(number)) for number in range(3)]
    await asyncio.sleep(0)
    for _ in tasks:
        slots.give_back()
        assert slots.free == 0
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2]


async def test_nobody_who_comes_later_overtakes_one_who_waits() -> None:
    slots = Slots(0)
    first = asyncio.create_task(slots.retake())
    await asyncio.sleep(0)
    slots.give_back()
    second = asyncio.create_task(slots.retake())
    await first
    await asyncio.sleep(0)
    assert not second.done()
    second.cancel()


async def test_listeners_hear_only_of_lent_slots_that_nobody_waits_for() -> None:
    slots, heard = Slots(0), list[int]()
    slots.notify(lambda: heard.append(slots.free))
    waiting = asyncio.create_task(slots.retake())
    await asyncio.sleep(0)
    slots.lend()
    await waiting
    assert heard == []
    slots.lend()
    assert heard == [1]


async def test_who_gives_a_slot_back_hears_whether_it_stays_free() -> None:
    slots = Slots(0)
    waiting = asyncio.create_task(slots.retake())
    await asyncio.sleep(0)
    assert [slots.give_back(), slots.give_back()] == [False, True]
    await waiting


@pytest.mark.parametrize("is_handed_over", [False, True])
async def test_who_is_cancelled_while_waiting_takes_no_slot(*, is_handed_over: bool) -> None:
    slots = Slots(0)
    waiting = asyncio.create_task(slots.retake())
    await asyncio.sleep(0)
    if is_handed_over:
        slots.give_back()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert slots.free == int(is_handed_over)
    slots.give_back()
    assert slots.free == 1 + int(is_handed_over)
