"""Time limits that share timers cut off what `asyncio.timeout` would, and nothing else."""

from __future__ import annotations

import asyncio

import pytest

from keptn_remedy.support import clock
from keptn_remedy.support.clock import TimeLimits

SOON = 0.05


@pytest.fixture(params=["shared", "exact"], autouse=True)
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """TimeLimits that share a timer, and those that have one of their own."""
    monkeypatch.setattr(clock, "EXACT_SECONDS", 0.0 if request.param == "shared" else 1e9)
    monkeypatch.setattr(clock, "SHARED_SECONDS", 0.01)
    return str(request.param)


async def forever() -> None:
    await asyncio.get_running_loop().create_future()


async def test_code_is_cut_off_when_its_time_is_over_and_not_before() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    limit = TimeLimits().of(SOON)
    with pytest.raises(TimeoutError), limit:
        await forever()
    assert limit.has_expired
    assert loop.time() - began >= SOON - 0.005
    task = asyncio.current_task()
    assert task
    assert not task.cancelling()


async def test_each_of_many_limits_ends_its_own_code_in_order() -> None:
    limits, ended = TimeLimits(), list[int]()

    async def work(number: int) -> None:
        with pytest.raises(TimeoutError), limits.of(SOON * number):
            await forever()
        ended.append(number)

    await asyncio.gather(*map(work, (4, 1, 3, 2)))
    assert ended == [1, 2, 3, 4]


async def test_what_has_ended_in_time_is_left_alone() -> None:
    limits = TimeLimits()
    limit = limits.of(SOON)
    with limit:
        await asyncio.sleep(0)
    with pytest.raises(ValueError, match="its own"), limits.of(SOON):
        raise ValueError("its own")
    await asyncio.sleep(2 * SOON)
    assert not limit.has_expired


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_cancellation_by_others_stays_one(at_once: bool) -> None:
    limits, begun = TimeLimits(), asyncio.Event()

    async def work() -> None:
        limit = limits.of(SOON)
        with limit:
            begun.set()
            try:
                await forever()
            finally:
                if at_once:
                    limit.expire()

    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_limits_may_be_nested() -> None:
    limits = TimeLimits()
    outer, inner = limits.of(SOON), limits.of(1000)
    with pytest.raises(TimeoutError), outer, inner:
        await forever()
    assert (outer.has_expired, inner.has_expired) == (True, False)


async def test_limits_of_about_the_same_time_share_one_timer(kind: str) -> None:
    limits = TimeLimits()
    all_ = [limits.of(3600) for _ in range(100)]
    assert len(limits._moments) == (
        len({id(each._due) for each in all_}) if kind == "shared" else 0
    )
    assert len(limits._moments) < 10
    for each in all_:
        with each:
            pass
    assert not any(limits._due.values())


async def test_code_may_have_all_the_time_of_the_world() -> None:
    with TimeLimits().of(float("inf")):
        await asyncio.sleep(0)
