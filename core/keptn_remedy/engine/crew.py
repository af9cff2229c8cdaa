"""Tasks that each work on one thing, and end together: drained, then cancelled."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from keptn_remedy.support import logs

T = TypeVar("T")

CANCEL_SECONDS = 2.0


class Work(asyncio.Task[object]):
    """A task of a crew. We cancel it by `cut_off` alone: whatever else does so is the code that it
    runs.
    """

    _cut_off = 0

    def cut_off(self) -> None:
        """Cancel it, on our own behalf."""
        self._cut_off += 1
        self.cancel()

    def go_on(self) -> bool:
        """End the last cancellation of ours; whether there is no other."""
        self._cut_off -= 1
        return self.uncancel() == 0

    @property
    def is_cancelled_from_within(self) -> bool:
        """Whether the code that it runs has cancelled it, and nobody else has."""
        return self.cancelling() > 0 and not self._cut_off

    async def shake_off(self) -> bool:
        """Go on in spite of a cancellation from within. True: it was still to be raised.

        Raises:
            CancelledError: we cancelled the task as well.
        """
        is_raised = False
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if self._cut_off:
                raise
            is_raised = True
        while self.uncancel():
            pass
        return is_raised


def cut_off(task: asyncio.Task[Any]) -> None:
    """Cancel a task, on our own behalf."""
    if isinstance(task, Work):
        task.cut_off()
    else:
        task.cancel()


def cancelled_from_within() -> Work | None:
    """This task, if the code that it runs has cancelled it."""
    task = asyncio.current_task()
    return task if isinstance(task, Work) and task.is_cancelled_from_within else None


class Crew(Generic[T]):
    """The tasks at one kind of work, `noun` in the log. `ended` is called with the thing worked on
    and with what the task raised, if anything; a cancelled task raised nothing.
    """

    def __init__(self, noun: str, ended: Callable[[T, BaseException | None], None]) -> None:
        self._noun = noun
        self._ended = ended
        # The same for each task: thousands of them run at once.
        self._task_ended = self._note_end
        self._context = contextvars.copy_context()
        self._at_work: dict[Work, T] = {}
        # Those that ignored their cancellation: nobody waits for them twice.
        self._stuck: dict[Work, T] = {}

    def __len__(self) -> int:
        return len(self._at_work)

    @property
    def things(self) -> list[T]:
        """What is worked on, but for what is stuck."""
        return list(self._at_work.values())

    def thing_of(self, task: asyncio.Task[object]) -> T | None:
        """What a task works on, if it is one of these."""
        if not isinstance(task, Work):
            return None
        return self._at_work.get(task) or self._stuck.get(task)

    def start(self, thing: T, work: Coroutine[Any, Any, object]) -> None:
        """Begin to work on a thing."""
        # With one name for all: each task would make its own.
        task = Work(work, loop=asyncio.get_running_loop(), name=self._noun)
        self._at_work[task] = thing
        task.add_done_callback(self._task_ended, context=self._context)

    def cancel(self, which: Callable[[T], bool]) -> None:
        """Cancel the work on these things."""
        for task, thing in self._at_work.items():
            if which(thing):
                task.cut_off()

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

    def _note_end(self, task: Work) -> None:
        # A task may end while `drain` sorts it out; it is always in exactly one of the two.
        thing = self._at_work.pop(task) if task in self._at_work else self._stuck.pop(task)
        self._ended(thing, None if task.cancelled() else task.exception())
