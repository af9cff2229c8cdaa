"""How long the event loop is kept busy, callback by callback, by the thread's own time."""

from __future__ import annotations

import asyncio
import time
from typing import Any, Self


class LoopTime:
    """Measures while it is entered: the sum of all callbacks, and the longest one, in seconds of
    the thread's own time.
    """

    def __init__(self) -> None:
        self.all = 0.0
        self.longest = 0.0
        self._run = asyncio.Handle._run

    def __enter__(self) -> Self:
        run = self._run

        def measured(handle: Any) -> None:
            began = time.thread_time()
            try:
                run(handle)
            finally:
                spent = time.thread_time() - began
                self.all += spent
                self.longest = max(self.longest, spent)

        asyncio.Handle._run = measured  # type: ignore[method-assign, assignment]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.Handle._run = self._run  # type: ignore[method-assign]
