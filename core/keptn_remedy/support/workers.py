"""Tasks that stay and work on things as they come; a task for each thing would cost more."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Generic, TypeVar, cast

from keptn_remedy.support import logs

T = TypeVar("T")

# So many with nothing to do are kept for what comes next: what one commit of the journal lets go.
SPARE = 32


class Workers(Generic[T]):
    """Work on things in the order in which they come, at most `most` at once. `noun` is the kind of
    work, for the log. Used on the event loop.
    """

    def __init__(self, noun: str, work: Callable[[T], Awaitable[None]], most: int) -> None:
        self._noun = noun
        self._work = work
        self._most = most
        self._waiting: deque[T] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        # What those wait for that have nothing to do.
        self._idle: list[asyncio.Future[None]] = []
        self._open = 0
        self._done = asyncio.Event()

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return not self._open

    def put(self, thing: T) -> None:
        """Have it worked on."""
        self._open += 1
        self._waiting.append(thing)
        if self._idle:
            self._idle.pop().set_result(None)
        elif len(self._tasks) < self._most:
            # Not in the context of whoever came first: the task outlives it.
            self._tasks.add(asyncio.create_task(self._run(), context=Context()))

    async def until_done(self) -> None:
        """Wait until nothing is left."""
        while self._open:
            self._done.clear()
            await self._done.wait()

    async def cancel(self) -> None:
        """Stop at once, and leave what is under way and what waits."""
        for task in self._tasks:
            task.cancel()
        self._idle.clear()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._waiting:
                thing = self._waiting.popleft()
                try:
                    await self._work(thing)
                except Exception as error:  # noqa: BLE001  one of ours must not end the others
                    logs.logger().error(f"{self._noun} failed unexpectedly", exc_info=error)
                finally:
                    self._open -= 1
                    if not self._open:
                        self._done.set()
            if len(self._idle) == SPARE:
                # At once, not when the task is done: what is put until then needs another one.
                self._tasks.discard(cast("asyncio.Task[None]", asyncio.current_task()))
                return
            called = loop.create_future()
            self._idle.append(called)
            await called
