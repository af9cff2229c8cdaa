"""Runs the event loop, which nothing ends that an action's task or callback raises."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from keptn_remedy.support import logs
from keptn_remedy.support.authored import deed

T = TypeVar("T")


def run(
    main: Coroutine[Any, Any, T],
    *,
    contains: tuple[type[BaseException], ...] = (SystemExit,),
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> T:
    """Run until `main` ends, as `asyncio.run` does, but go on after what `contains` names.

    asyncio lets SystemExit and KeyboardInterrupt of any task end the loop, and with it the process.
    Whoever awaits that task still gets the error.
    """
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        task = runner.get_loop().create_task(main)
        while True:
            try:
                return runner.run(_end_of(task))
            except contains as error:
                if task.done():
                    raise
                logs.logger().error(
                    "an action tried to end the process", did=deed(error), exc_info=error
                )


async def _end_of(task: asyncio.Task[T]) -> T:
    return await task
