"""Whose an execution is: what a process may act on where several serve from one journal."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Protocol


class NotOwner(BaseException):
    """The execution is another replica's by now, or may be. Nothing of what was to be stored was
    stored. No `except Exception` of an author stops it.
    """


class TargetHeld(Exception):
    """Another replica holds a target of the plan, or has changed it since the plan was made: the
    plan is to be made anew. Nothing was stored.
    """


class Ownership(Protocol):
    """The lease of this process on all that it has claimed."""

    @property
    def is_shared(self) -> bool:
        """Whether other processes may serve from the same journal."""
        ...

    def may_act(self) -> bool:
        """Whether what this process has claimed is its own for now, by the monotonic clock."""
        ...

    def has_duty(self) -> bool:
        """Whether it is this process that does what one does for all."""
        ...

    def notify(
        self, lost: Callable[[], None], found: Callable[[], None], ordered: Callable[[], None]
    ) -> None:
        """Have `lost` called on the event loop when the lease may end before it is renewed, `found`
        when another replica has left something, or is done with what is waited for here, and
        `ordered` when another one, or a command, has stored an order or an abort. What nobody tells
        is found by looking each second.
        """
        ...

    async def aborted(self, running: Collection[str]) -> dict[str, str]:
        """Why executions that run here are aborted, as any replica has noted."""
        ...


class Alone:
    """The ownership of a process that has the journal for itself."""

    is_shared = False

    def may_act(self) -> bool:
        return True

    def has_duty(self) -> bool:
        return True

    def notify(
        self, lost: Callable[[], None], found: Callable[[], None], ordered: Callable[[], None]
    ) -> None:
        """Nothing is ever lost, and nobody else leaves anything."""

    async def aborted(self, running: Collection[str]) -> dict[str, str]:
        return {}


ALONE = Alone()


class Owned(Protocol):
    """A journal, for all that act by it."""

    @property
    def ownership(self) -> Ownership:
        """The lease of this process."""
        ...
