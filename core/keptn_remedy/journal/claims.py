"""What this process holds of the journal, so that nothing is taken up twice."""

from __future__ import annotations

from collections.abc import Collection, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Claims(Generic[K]):
    """Things that are held, each in a group whose things go one after the other.

    In memory, as the lock of the file makes this process the only owner; a restart holds nothing.
    Used on the event loop alone: whoever looks in another thread goes by a copy, and asks
    again afterwards, as claims may have come and gone meanwhile.
    """

    def __init__(self) -> None:
        self._groups: dict[str, set[K]] = {}

    @property
    def groups(self) -> Collection[str]:
        """The groups in which something is held."""
        return self._groups.keys()

    @property
    def held(self) -> list[K]:
        """All that is held."""
        return [key for keys in self._groups.values() for key in keys]

    def __contains__(self, group: str) -> bool:
        return group in self._groups

    def holds(self, group: str, key: K) -> bool:
        """Whether this is held."""
        return key in self._groups.get(group, ())

    def take(self, group: str, key: K) -> bool:
        """Hold it; False if it is held already."""
        if (held := self._groups.get(group)) is None:
            self._groups[group] = {key}
            return True
        if key in held:
            return False
        held.add(key)
        return True

    def take_alone(self, group: str, key: K) -> bool:
        """Hold it, if nothing of its group is held."""
        if group in self._groups:
            return False
        self._groups[group] = {key}
        return True

    def drop(self, group: str, key: K) -> None:
        """Hold it no more, if it is held."""
        if held := self._groups.get(group):
            held.discard(key)
            if not held:
                del self._groups[group]
