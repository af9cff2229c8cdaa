"""Target locks: one planned execution at a time per target."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from keptn_remedy.engine.target_locks import TargetLocks


class Listed(frozenset[str]):
    """Targets that come in the order they are listed in, as those of a set may by chance."""

    def __new__(cls, *names: str) -> Listed:
        return super().__new__(cls, names)

    def __init__(self, *names: str) -> None:
        self.names = names

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)


async def test_a_target_that_nobody_held_since_is_fresh() -> None:
    targets = TargetLocks()
    async with targets.hold(frozenset({"a", "b"}), "me", targets.moment) as is_stale:
        assert not is_stale
    async with targets.hold(frozenset({"a"}), "me", targets.moment) as is_stale:
        assert not is_stale


async def test_a_target_that_was_held_and_released_meanwhile_is_stale() -> None:
    targets = TargetLocks()
    since = targets.moment
    async with targets.hold(frozenset({"a"}), "me", since):
        pass
    async with targets.hold(frozenset({"b"}), "me", since) as is_stale:
        assert not is_stale
    async with targets.hold(frozenset({"a", "b"}), "me", since) as is_stale:
        assert is_stale


async def test_what_was_forgotten_counts_as_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keptn_remedy.engine.target_locks.REMEMBERED", 2)
    targets = TargetLocks()
    since = targets.moment
    for name in "abcd":
        async with targets.hold(frozenset(name), "me", targets.moment):
            pass
    assert len(targets._released) <= 2
    async with targets.hold(frozenset("a"), "me", since) as is_stale:
        assert is_stale


async def test_a_held_target_is_waited_for_in_order() -> None:
    targets, order = TargetLocks(), list[str]()
    since = targets.moment

    async def take(name: str) -> None:
        async with targets.hold(frozenset({"a"}), "me", since) as is_stale:
            assert is_stale
            order.append(name)

    held = AsyncExitStack()
    await held.enter_async_context(targets.hold(frozenset({"a", "b"}), "me", since))
    takers = [asyncio.create_task(take(name)) for name in "123"]
    await asyncio.sleep(0)
    assert order == []
    await held.aclose()
    await asyncio.gather(*takers)
    assert order == ["1", "2", "3"]


async def test_overlapping_targets_never_lock_each_other_out() -> None:
    targets = TargetLocks()

    async def take(*names: str) -> None:
        for _ in range(50):
            async with targets.hold(frozenset(names), "me", 0):
                await asyncio.sleep(0)

    async with asyncio.timeout(10):
        await asyncio.gather(take("a", "b", "c"), take("c", "a"), take("b", "c"), take("b", "a"))


async def test_two_holders_at_a_gate_do_not_lock_each_other_out() -> None:
    targets, order = TargetLocks(), list[str]()

    async def take(owner: str, *names: str) -> None:
        async with targets.hold(Listed(*names), owner, targets.moment):
            order.append(owner)

    async with targets.hold(frozenset({"gate"}), "gatekeeper", targets.moment):
        takers = [
            asyncio.create_task(take("first", "before", "gate", "past")),
            asyncio.create_task(take("second", "past", "gate", "before")),
        ]
        await asyncio.sleep(0)
        assert order == []
    async with asyncio.timeout(5):
        await asyncio.gather(*takers)
    assert order == ["first", "second"]
    assert not targets._locks


async def test_who_waits_for_one_target_does_not_hold_those_that_sort_after_it() -> None:
    targets = TargetLocks()

    async def take() -> None:
        async with targets.hold(Listed("c", "b", "a"), "waiting", targets.moment):
            pass

    async with targets.hold(frozenset({"b"}), "holding", targets.moment):
        waiter = asyncio.create_task(take())
        await asyncio.sleep(0)
        assert {name: targets.holder(name) for name in "abc"} == {
            "a": "waiting",
            "b": "holding",
            "c": None,
        }
    await waiter


async def test_a_cancelled_waiter_leaves_nothing_held() -> None:
    targets = TargetLocks()

    async def take() -> None:
        async with targets.hold(frozenset({"a", "b"}), "me", 0):
            pytest.fail("it was held")

    async with targets.hold(frozenset({"b"}), "me", 0):
        waiter = asyncio.create_task(take())
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
    assert not targets._locks


async def test_what_is_reserved_is_free_for_its_owner_alone() -> None:
    targets, order = TargetLocks(), list[str]()
    await targets.reserve(frozenset({"a", "b"}), "cut off")

    async def take(owner: str) -> None:
        async with targets.hold(frozenset({"a"}), owner, targets.moment):
            order.append(owner)

    other = asyncio.create_task(take("other"))
    await asyncio.sleep(0)
    assert order == []
    await take("cut off")
    await other
    assert order == ["cut off", "other"]
    assert set(targets._locks) == {"b"}
    targets.forget("cut off")
    assert not targets._locks
