"""What this process holds of the journal, so that nothing is taken up twice."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterable, KeysView
from contextlib import contextmanager
from itertools import islice
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Claims(Generic[K]):
    """Keys that are held, each in a group whose members go one after the other.

    They live in memory, as the lock of the file makes this process the only owner; a restart holds
    nothing. They are used on the event loop. Whoever looks into the journal in another thread goes
    by a copy, within `looking`, and takes what was found by `take_found`.
    """

    def __init__(self) -> None:
        # No object of its own for each: ten thousand may be held.
        self._held: dict[K, str] = {}
        self._sizes: dict[str, int] = {}
        # Groups for which something is being stored that will wait: nothing may overtake it.
        self._awaited: dict[str, int] = {}
        self._looks = 0
        # What was dropped during a look, which may have seen it before.
        self._dropped: set[K] = set()

    @property
    def groups(self) -> KeysView[str]:
        """The groups in which something is held."""
        return self._sizes.keys()

    @property
    def held(self) -> KeysView[K]:
        """All that is held."""
        return self._held.keys()

    def missing(self, found: Iterable[tuple[K]], limit: int) -> list[K]:
        """The first of these that are not held, at most so many. Of all methods, this one may be
        called in another thread: it asks for one key after the other.
        """
        held = self._held
        return list(islice((key for (key,) in found if key not in held), limit))

    def take(self, group: str, key: K) -> bool:
        """Hold it; False if it is held already."""
        if key in self._held:
            return False
        self._held[key] = group
        self._sizes[group] = self._sizes.get(group, 0) + 1
        return True

    def take_alone(self, group: str, key: K) -> bool:
        """Hold it, if nothing of its group is held."""
        return group not in self._sizes and self.take(group, key)

    def reserve(self, group: str) -> bool:
        """Keep a group for what has no key yet; False if something of it is held, or awaited.
        `fill` or `give_up` must follow.
        """
        if group in self._sizes or group in self._awaited:
            return False
        self._sizes[group] = 1
        return True

    def fill(self, group: str, key: K) -> None:
        """Hold what the group was reserved for."""
        self._held[key] = group

    def give_up(self, group: str) -> None:
        """Reserve the group no more."""
        self._leave(group)

    @contextmanager
    def awaiting(self, group: str) -> Generator[None]:
        """While something of the group is being stored: what comes later is not to overtake it."""
        self._awaited[group] = self._awaited.get(group, 0) + 1
        try:
            yield
        finally:
            self._awaited[group] -= 1
            if not self._awaited[group]:
                del self._awaited[group]

    def take_found(self, group: str, key: K) -> bool:
        """As `take_alone`, for what a look found. What was dropped since it began is not taken: it
        may have been delivered or finished, after the look saw it.
        """
        return key not in self._dropped and self.take_alone(group, key)

    def drop(self, key: K) -> str | None:
        """Hold it no more; returns the group in which it was held, None if it was not."""
        group = self._held.pop(key, None)
        if group is None:
            return None
        if self._looks:
            self._dropped.add(key)
        self._leave(group)
        return group

    def _leave(self, group: str) -> None:
        self._sizes[group] -= 1
        if not self._sizes[group]:
            del self._sizes[group]

    @contextmanager
    def looking(self) -> Generator[None]:
        """While the journal is read, and what was found is taken."""
        self._looks += 1
        try:
            yield
        finally:
            self._looks -= 1
            if not self._looks:
                self._dropped.clear()
