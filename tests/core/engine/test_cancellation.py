"""Cancellation: one request, the first reason, and one way out."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from keptn_remedy.engine.cancellation import Cancellation, Interrupted


async def without_end(_: Cancellation) -> None:
    await asyncio.get_running_loop().create_future()


async def hears_nothing(_: Cancellation) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        return


async def fails_when_cut_off(_: Cancellation) -> None:
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        raise ValueError("cut off") from None


class Run:
    """Code in a task of its own, which may be interrupted."""

    def __init__(self, code: Callable[[Cancellation], Awaitable[None]]) -> None:
        self.task = asyncio.create_task(self._run(code))
        self.cancellation = Cancellation(self.task)

    async def _run(self, code: Callable[[Cancellation], Awaitable[None]]) -> None:
        try:
            await code(self.cancellation)
        except BaseException as error:
            self.cancellation.left(error)
            raise
        self.cancellation.left()

    async def begin(self) -> Run:
        await asyncio.sleep(0)
        return self


async def test_the_first_reason_stands_and_cancels_once() -> None:
    run = await Run(without_end).begin()
    run.cancellation.request("the first")
    run.cancellation.request("the second")
    assert (run.cancellation.reason, run.task.cancelling()) == ("the first", 1)
    with pytest.raises(Interrupted):
        await run.task


@pytest.mark.parametrize("code", [without_end, hears_nothing, fails_when_cut_off])
async def test_however_the_code_leaves_there_is_one_way_out(
    code: Callable[[Cancellation], Awaitable[None]],
) -> None:
    run = await Run(code).begin()
    run.cancellation.request("gone")
    with pytest.raises(Interrupted):
        await run.task
    assert run.task.cancelling() == 0


async def test_errors_of_code_that_nobody_interrupts_are_its_own() -> None:
    async def fail(_: Cancellation) -> None:
        raise ValueError("its own")

    with pytest.raises(ValueError, match="its own"):
        await Run(fail).task


async def test_a_request_that_meets_no_await_interrupts_all_the_same() -> None:
    async def ask_to_stop(cancellation: Cancellation) -> None:
        cancellation.request("gone")

    run = Run(ask_to_stop)
    with pytest.raises(Interrupted):
        await run.task
    assert run.task.cancelling() == 0


async def test_what_is_shielded_ends_first_and_nothing_else_is_done() -> None:
    gate = asyncio.Event()
    ended: list[str] = []

    async def change(cancellation: Cancellation) -> None:
        with cancellation.shielded():
            await gate.wait()
            ended.append("the change")
        ended.append("the next step")

    run = await Run(change).begin()
    run.cancellation.request("gone")
    gate.set()
    with pytest.raises(Interrupted):
        await run.task
    assert ended == ["the change"]


async def test_what_is_shielded_and_fails_is_interrupted_before_anybody_handles_that() -> None:
    gate = asyncio.Event()
    handled: list[str] = []

    async def fail() -> None:
        raise ValueError("not applied")

    async def change(cancellation: Cancellation) -> None:
        try:
            with cancellation.shielded():
                await gate.wait()
                await fail()
        except ValueError as error:
            handled.append(str(error))

    run = await Run(change).begin()
    run.cancellation.request("gone")
    gate.set()
    with pytest.raises(Interrupted):
        await run.task
    assert handled == []


async def test_a_cancellation_by_somebody_else_is_not_swallowed() -> None:
    run = await Run(without_end).begin()
    run.cancellation.request("gone")
    run.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run.task
