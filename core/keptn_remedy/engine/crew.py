"""Tasks that each work on one thing, and end together: drained, then cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from keptn_remedy.support import logs

T = TypeVar("T")

CANCEL_SECONDS = 2.0


class Crew(Generic[T]):
    """The tasks at one kind of work, `noun` in the log. `ended` is called with the thing worked on
    and with what the task raised, if anything; a cancelled task raised nothing.
    """

    def __init__(self, noun: str, ended: Callable[[T, BaseException | None], None]) -> None:
        self._noun = noun
        self._ended = ended
        self._at_work: dict[asyncio.Task[object], T] = {}
        # Those that ignored their cancellation: nobody waits for them twice.
        self._stuck: dict[asyncio.Task[object], T] = {}

    def __len__(self) -> int:
        return len(self._at_work)

    @property
    def things(self) -> list[T]:
        """What is worked on, but for what is stuck."""
        return list(self._at_work.values())

    def thing_of(self, task: asyncio.Task[object]) -> T | None:
        """What a task works on, if it is one of these."""
        return self._at_work.get(task) or self._stuck.get(task)

    def start(self, thing: T, work: Coroutine[Any, Any, object]) -> None:
        """Begin to work on a thing."""
        task = asyncio.create_task(work)
        self._at_work[task] = thing
        task.add_done_callback(self._note_end)

    def cancel(self, which: Callable[[T], bool]) -> None:
        """Cancel the work on these things."""
        for task, thing in self._at_work.items():
            if which(thing):
                task.cancel()

    async def drain(
        self,
        seconds: float,
        cancel_seconds: float = CANCEL_SECONDS,
        *,
        waits_for: Callable[[T], bool] = lambda thing: True,
    ) -> None:
        """Wait so long for the work on these things to end, and cancel all other work at once; then
        cancel what is left, and wait so long for that. What is still at work then is stuck: its end
        is still reported to `ended`.
        """
        self.cancel(lambda thing: not waits_for(thing))
        if awaited := [task for task, thing in self._at_work.items() if waits_for(thing)]:
            await asyncio.wait(awaited, timeout=seconds)
        self.cancel(lambda thing: True)
        if not self._at_work:
            return
        _, stuck = await asyncio.wait(self._at_work, timeout=cancel_seconds)
        if stuck:
            logs.logger().error(f"{self._noun} ignore their cancellation", count=len(stuck))
        for task in stuck:
            self._stuck[task] = self._at_work.pop(task)

    def _note_end(self, task: asyncio.Task[object]) -> None:
        # A task may end while `drain` sorts it out; it is always in exactly one of the two.
        thing = self._at_work.pop(task) if task in self._at_work else self._stuck.pop(task)
        self._ended(thing, None if task.cancelled() else task.exception())
