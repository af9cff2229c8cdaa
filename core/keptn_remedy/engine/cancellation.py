"""Cancelling an execution that runs: which part is cut off at once, and which ends first."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from keptn_remedy.action import Outcome
from keptn_remedy.engine.crew import Work, cut_off
from keptn_remedy.engine.threads import NotBegun
from keptn_remedy.journal import NotOwner


class Interrupted(BaseException):
    """The execution was cancelled, and its code has left. No `except Exception` of an author stops
    it. `outcome` is set where what had been applied was dealt with already.
    """

    def __init__(self, outcome: Outcome | None = None) -> None:
        super().__init__()
        self.outcome = outcome


LEAVING = (asyncio.CancelledError, GeneratorExit, Interrupted, NotBegun, NotOwner)
"""What leaves a coroutine and is no error of an action's code."""


class Cancellation:
    """The cancellation of one execution, which `task` carries out. `reason` is why, once a request
    came; the first reason stands. `is_reported`: Keptn still gets a report.

    A request may come at any await. Whatever the interrupted code does about it, `left` turns its
    end into `Interrupted`: that is the one way out.
    """

    __slots__ = ("_has_cancelled", "_is_shielded", "_task", "is_reported", "reason")

    def __init__(self, task: asyncio.Task[Any] | None, reason: str | None = None) -> None:
        self.reason = reason
        self.is_reported = False
        self._task = task
        self._is_shielded = False
        self._has_cancelled = False

    def request(self, reason: str, *, is_reported: bool = False) -> None:
        """Stop the execution as soon as that is safe."""
        if self.reason is not None:
            return
        self.reason, self.is_reported = reason, is_reported
        if self._task and not self._is_shielded:
            self._has_cancelled = True
            cut_off(self._task)

    def cut_off(self) -> None:
        """Cancel the task at once, shielded or not."""
        if self._task:
            cut_off(self._task)

    def left(self, error: BaseException | None = None) -> None:
        """Code that a request interrupts has left: cut off, with an error of its own, or with a
        result, perhaps because it took no notice.

        Raises:
            Interrupted: a request came. An error is the caller's to raise where none did, such as
                CancelledError where a process leaves.
        """
        if self.reason is None:
            return
        is_ours = error is None or isinstance(error, Exception) or self._is_absorbed(error)
        if is_ours:
            self._absorb()
            raise Interrupted from None

    @contextmanager
    def shielded(self) -> Generator[None]:
        """A change or an undo, which no request cuts off: it could still land after somebody has
        looked for it.

        Raises:
            Interrupted: a request came before, and the change has not begun; or it came meanwhile,
                and the change has ended.
        """
        if self.reason is not None:
            self._absorb()  # what ran before took no notice of it
            raise Interrupted
        self._is_shielded = True
        try:
            yield
        except Exception:
            if self.reason is None:
                raise
        finally:
            self._is_shielded = False
        if self.reason is not None:
            raise Interrupted

    def _is_absorbed(self, error: BaseException) -> bool:
        return isinstance(error, asyncio.CancelledError) and self._absorb()

    def _absorb(self) -> bool:
        """Whether nobody but `request` cancelled the task; then the cancellation is over."""
        # Two may cancel before the task runs again: this request, and the process that leaves.
        # Task.uncancel counts them, so that the other one is not swallowed.
        if not self._has_cancelled:
            return False
        self._has_cancelled = False
        task = asyncio.current_task()
        if isinstance(task, Work):
            return task.go_on()
        return task is not None and task.uncancel() == 0
