"""Threads for the methods of actions that are not `async`."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from keptn_remedy.guardrails.rails import Refusal

T = TypeVar("T")

MOST_THREADS = 32


class NotBegun(BaseException):
    """The code was admitted, and may not begin any more: a pause came while it waited for a thread.
    No `except Exception` of an author stops it.
    """

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


class Threads:
    """At most `most` threads (32), one for each call; further calls wait until one is free."""

    def __init__(self, most: int | None = None) -> None:
        self._free = asyncio.Semaphore(MOST_THREADS if most is None else most)

    async def call(
        self, call: Callable[[], T], name: str, may_begin: Callable[[], None] = lambda: None
    ) -> T:
        """Call it in a thread of that name, and wait until it has returned. `may_begin` is called
        once a thread is free, and raises if there must be no call.

        A thread can't be stopped. A cancellation while it runs is raised once it has ended: until
        then the call counts as code that ignores its cancellation, and nothing is begun beside it.
        """
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[tuple[T | None, BaseException | None]] = loop.create_future()
        context = contextvars.copy_context()

        def work() -> None:
            value, error = None, None
            try:
                value = context.run(call)
            except BaseException as raised:  # noqa: BLE001  it is raised where the call is awaited
                error = raised
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._note_end, ended, value, error)

        try:
            may_begin()
            # A daemon: one that never ends must not keep the process alive.
            threading.Thread(target=work, name=name, daemon=True).start()
        except BaseException:
            self._free.release()
            raise
        return await _result(ended)

    def _note_end(
        self,
        ended: asyncio.Future[tuple[T | None, BaseException | None]],
        value: T | None,
        error: BaseException | None,
    ) -> None:
        self._free.release()
        # Not as the future's exception: that can't be a StopIteration.
        ended.set_result((value, error))


async def _result(ended: asyncio.Future[tuple[T | None, BaseException | None]]) -> T:
    is_cut_off = False
    while not ended.done():
        try:
            await asyncio.wait((ended,))
        except asyncio.CancelledError:
            is_cut_off = True
    if is_cut_off:
        raise asyncio.CancelledError
    value, error = ended.result()
    if error is not None:
        raise error
    return value  # type: ignore[return-value]  # None only where T is None
