"""What this process holds of the journal, so that nothing is taken up twice."""

from __future__ import annotations

from collections.abc import Collection, Generator, Hashable
from contextlib import contextmanager
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Claims(Generic[K]):
    """Keys that are held, each in a group whose members go one after the other.

    They live in memory, as the lock of the file makes this process the only owner; a restart holds
    nothing. They are used on the event loop alone. Whoever looks into the journal in another thread
    goes by a copy, within `looking`, and takes what was found by `take_found`.
    """

    def __init__(self) -> None:
        self._groups: dict[str, tuple[K, ...]] = {}
        self._looks = 0
        # What was dropped during a look, which may have seen it before.
        self._dropped: set[K] = set()

    @property
    def groups(self) -> Collection[str]:
        """The groups in which something is held."""
        return self._groups.keys()

    @property
    def held(self) -> list[K]:
        """All that is held."""
        return [key for keys in self._groups.values() for key in keys]

    def holds(self, group: str, key: K) -> bool:
        """Whether this is held."""
        return key in self._groups.get(group, ())

    def take(self, group: str, key: K) -> bool:
        """Hold it; False if it is held already."""
        held = self._groups.get(group, ())
        if key in held:
            return False
        self._groups[group] = (*held, key)
        return True

    def take_alone(self, group: str, key: K) -> bool:
        """Hold it, if nothing of its group is held."""
        if group in self._groups:
            return False
        self._groups[group] = (key,)
        return True

    def take_found(self, group: str, key: K) -> bool:
        """As `take_alone`, for what a look found. What was dropped since it began is not taken: it
        may have been delivered or finished, after the look saw it.
        """
        return key not in self._dropped and self.take_alone(group, key)

    def drop(self, group: str, key: K) -> None:
        """Hold it no more, if it is held."""
        held = self._groups.get(group, ())
        if key not in held:
            return
        if self._looks:
            self._dropped.add(key)
        if left := tuple(other for other in held if other != key):
            self._groups[group] = left
        else:
            del self._groups[group]

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
