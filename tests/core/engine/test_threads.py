"""Threads for methods that are not async: few at a time, and never left behind unnoticed."""

import asyncio
import threading

import pytest

from keptn_remedy.engine.threads import Threads
from tests.waiting import until


async def test_no_more_threads_run_than_there_may_be() -> None:
    threads, gate, begun = Threads(2), threading.Event(), list[int]()

    def wait(number: int) -> int:
        begun.append(number)
        gate.wait()
        return number

    def call(number: int) -> asyncio.Task[int]:
        return asyncio.create_task(threads.call(lambda: wait(number), "test"))

    calls = [call(number) for number in range(3)]
    await until(lambda: len(begun) == 2)
    assert begun == [0, 1]
    gate.set()
    assert await asyncio.gather(*calls) == [0, 1, 2]


async def test_a_cancellation_is_heard_when_the_thread_has_ended() -> None:
    gate = threading.Event()
    call = asyncio.create_task(Threads().call(gate.wait, "test"))
    await asyncio.sleep(0)
    call.cancel()
    done, _ = await asyncio.wait((call,), timeout=0.01)
    assert not done
    gate.set()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_a_call_that_is_cancelled_while_it_waits_never_begins() -> None:
    threads, gate = Threads(1), threading.Event()
    first = asyncio.create_task(threads.call(gate.wait, "test"))
    second = asyncio.create_task(threads.call(lambda: pytest.fail("it began"), "test"))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    assert await first
