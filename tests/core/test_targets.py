"""Targets: one planned execution at a time per target."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from keptn_remedy.targets import Targets


async def test_a_free_target_is_held_without_waiting() -> None:
    targets = Targets()
    async with targets.hold(frozenset({"a", "b"})) as waited:
        assert not waited
    async with targets.hold(frozenset({"a"})) as waited:
        assert not waited


async def test_a_held_target_is_waited_for_in_order() -> None:
    targets, order = Targets(), list[str]()

    async def take(name: str) -> None:
        async with targets.hold(frozenset({"a"})) as waited:
            assert waited
            order.append(name)

    held = AsyncExitStack()
    await held.enter_async_context(targets.hold(frozenset({"a", "b"})))
    takers = [asyncio.create_task(take(name)) for name in "123"]
    await asyncio.sleep(0)
    assert order == []
    await held.aclose()
    await asyncio.gather(*takers)
    assert order == ["1", "2", "3"]


async def test_overlapping_targets_never_lock_each_other_out() -> None:
    targets = Targets()

    async def take(*names: str) -> None:
        for _ in range(50):
            async with targets.hold(frozenset(names)):
                await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await asyncio.gather(take("a", "b", "c"), take("c", "a"), take("b", "c"), take("b", "a"))


async def test_a_cancelled_waiter_leaves_nothing_held() -> None:
    targets = Targets()

    async def take() -> None:
        async with targets.hold(frozenset({"a", "b"})):
            pytest.fail("it was held")

    async with targets.hold(frozenset({"b"})):
        waiter = asyncio.create_task(take())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
    async with targets.hold(frozenset({"a", "b"})) as waited:
        assert not waited
