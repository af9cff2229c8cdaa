"""Giving up an execution that runs: what is cut off at once, and what comes to its end first."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any


class Cancelled(BaseException):
    """What was under way has come to its end; nothing else is to be done. No author catches it."""


class Cancellation:
    """Whether one execution is given up, and what of it may be cut off because of that.

    `reason` is why, from then on; `is_answered`: Keptn waits for an answer all the same.
    """

    __slots__ = ("_has_cancelled", "_is_shielded", "is_answered", "is_putting_back", "reason")

    def __init__(self) -> None:
        self.reason: str | None = None
        self.is_answered = False
        # From here on it is the undo that is under way, which nobody gives up.
        self.is_putting_back = False
        self._is_shielded = False
        self._has_cancelled = False

    def begin(self, task: asyncio.Task[Any], reason: str, *, is_answered: bool = False) -> None:
        """Stop the task as soon as that is safe. The first reason stands."""
        if self.reason is not None:
            return
        self.reason, self.is_answered = reason, is_answered
        if not self._is_shielded:
            self._has_cancelled = True
            task.cancel()

    def is_own_cancel(self) -> bool:
        """Whether nobody but `begin` cancelled the task; then that is over."""
        if not self._has_cancelled:
            return False
        self._has_cancelled = False
        task = asyncio.current_task()
        return task is not None and task.uncancel() == 0

    @contextmanager
    def shielded(self) -> Generator[None]:
        """A change or an undo: cut off, it could still land after it was looked for.

        Raises:
            Cancelled: when it has come to its end, and nothing else is to be done.
        """
        self._is_shielded = True
        try:
            yield
        except Exception:
            self._check()
            raise
        finally:
            self._is_shielded = False
        self._check()

    def _check(self) -> None:
        if self.reason and not self.is_putting_back:
            raise Cancelled from None
