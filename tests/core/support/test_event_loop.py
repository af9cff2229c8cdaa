"""The event loop goes on whatever an action's task or callback raises."""

import asyncio
import gc
import sys
from collections.abc import Callable, Iterator, Sequence

import pytest
import uvloop

from keptn_remedy.support import event_loop

LOOPS = [asyncio.new_event_loop, uvloop.new_event_loop]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """asyncio logs what tasks raised and nobody retrieved when they are collected: not later."""
    yield
    gc.collect()


async def exiting() -> None:
    sys.exit(4)


@pytest.mark.parametrize("loop_factory", LOOPS)
def test_a_task_that_exits_fails_for_whoever_awaits_it_and_the_loop_goes_on(
    loop_factory: Callable[[], asyncio.AbstractEventLoop],
) -> None:
    async def main() -> Sequence[object]:
        asyncio.get_running_loop().call_soon(sys.exit, 5)
        return await asyncio.gather(exiting(), asyncio.sleep(0.001), return_exceptions=True)

    ended = event_loop.run(main(), loop_factory=loop_factory)
    assert isinstance(ended[0], SystemExit)
    assert ended[1] is None


def test_what_runs_in_the_loop_may_still_end_it() -> None:
    with pytest.raises(SystemExit):
        event_loop.run(exiting())


def test_an_interrupt_still_ends_it() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        await asyncio.gather(interrupted(), asyncio.Event().wait())

    with pytest.raises(KeyboardInterrupt):
        event_loop.run(main())
