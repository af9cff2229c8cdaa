"""Cancellation: one request, the first reason, and one way out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from keptn_remedy.engine.cancellation import Cancellation, Interrupted


async def without_end() -> None:
    await asyncio.get_running_loop().create_future()


async def hears_nothing() -> None:
    try:
        await without_end()
    except asyncio.CancelledError:
        return


async def fails_when_cut_off() -> None:
    try:
        await without_end()
    except asyncio.CancelledError:
        raise ValueError("cut off") from None


def started(cancellation: Cancellation, code: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
    """A task in which this code may be interrupted."""

    async def run() -> None:
        cancellation.bind(asyncio.current_task())
        with cancellation.exit():
            await code()

    return asyncio.create_task(run())


async def test_the_first_reason_stands_and_cancels_once() -> None:
    cancellation = Cancellation()
    task = started(cancellation, without_end)
    await asyncio.sleep(0)
    cancellation.request("the first")
    cancellation.request("the second")
    assert (cancellation.reason, task.cancelling()) == ("the first", 1)
    with pytest.raises(Interrupted):
        await task


@pytest.mark.parametrize("code", [without_end, hears_nothing, fails_when_cut_off])
async def test_however_the_code_leaves_there_is_one_way_out(
    code: Callable[[], Awaitable[None]],
) -> None:
    cancellation = Cancellation()
    task = started(cancellation, code)
    await asyncio.sleep(0)
    cancellation.request("gone")
    with pytest.raises(Interrupted):
        await task
    assert task.cancelling() == 0


async def test_errors_of_code_that_nobody_interrupts_are_its_own() -> None:
    async def fail() -> None:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        await started(Cancellation(), fail)


async def test_a_request_before_the_code_runs_interrupts_it_at_its_end() -> None:
    cancellation = Cancellation()
    cancellation.request("gone")
    with pytest.raises(Interrupted):
        await started(cancellation, lambda: asyncio.sleep(0))


async def test_what_is_shielded_ends_first_and_nothing_else_is_done() -> None:
    cancellation, gate = Cancellation(), asyncio.Event()
    ended: list[str] = []

    async def change() -> None:
        with cancellation.shielded():
            await gate.wait()
            ended.append("the change")
        ended.append("the next step")

    task = started(cancellation, change)
    await asyncio.sleep(0)
    cancellation.request("gone")
    gate.set()
    with pytest.raises(Interrupted):
        await task
    assert ended == ["the change"]


async def test_what_is_shielded_and_fails_is_interrupted_before_anybody_handles_that() -> None:
    cancellation, gate = Cancellation(), asyncio.Event()
    handled: list[str] = []

    async def fail() -> None:
        raise ValueError("not applied")

    async def change() -> None:
        try:
            with cancellation.shielded():
                await gate.wait()
                await fail()
        except ValueError as error:
            handled.append(str(error))

    task = started(cancellation, change)
    await asyncio.sleep(0)
    cancellation.request("gone")
    gate.set()
    with pytest.raises(Interrupted):
        await task
    assert handled == []


async def test_a_cancellation_by_somebody_else_is_not_swallowed() -> None:
    cancellation = Cancellation()
    task = started(cancellation, without_end)
    await asyncio.sleep(0)
    cancellation.request("gone")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
