"""Giving up: one cancellation, the first reason, and what is shielded from it."""

import asyncio

import pytest

from keptn_remedy.engine.cancellation import Cancellation, Cancelled


async def at_rest() -> None:
    await asyncio.get_running_loop().create_future()


async def test_the_first_reason_stands_and_cancels_once() -> None:
    giving_up, task = Cancellation(), asyncio.create_task(at_rest())
    giving_up.begin(task, "the first")
    giving_up.begin(task, "the second")
    assert (giving_up.reason, task.cancelling()) == ("the first", 1)
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_what_is_shielded_comes_to_its_end_and_then_nothing_else_is_done() -> None:
    giving_up, gate = Cancellation(), asyncio.Event()
    ended: list[str] = []

    async def change() -> None:
        with giving_up.shielded():
            await gate.wait()
            ended.append("the change")
        ended.append("the next step")

    task = asyncio.create_task(change())
    await asyncio.sleep(0)
    giving_up.begin(task, "gone")
    gate.set()
    with pytest.raises(Cancelled):
        await task
    assert ended == ["the change"]


async def test_a_cancellation_of_others_is_not_taken_for_its_own() -> None:
    giving_up = Cancellation()
    own: list[bool] = []

    async def step() -> None:
        try:
            await at_rest()
        except asyncio.CancelledError:
            own.append(giving_up.is_own_cancel())

    for cancels_too in (False, True):
        giving_up = Cancellation()
        task = asyncio.create_task(step())
        await asyncio.sleep(0)
        giving_up.begin(task, "gone")
        if cancels_too:
            task.cancel()
        await asyncio.wait({task})
    assert own == [True, False]
