"""The seam between toggling and the places that keep flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag as it was found: the before-image.

    `enabled` is True or False where that holds for every caller, else text that says what decides.
    `image` is what only its store understands: JSON, enough to put everything back.
    """

    name: str
    target: str
    enabled: bool | str
    image: Any


@dataclass(frozen=True, slots=True)
class Switch:
    """A flag as it was found, and whether it shall be on."""

    flag: Flag
    on: bool

    @property
    def changes(self) -> bool:
        return self.flag.enabled is not self.on

    def __str__(self) -> str:
        return f"{self.flag.name} {on_or_off(self.on)}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all switches hold.

    `contrary` says what was seen to be otherwise, `doubt` what could not be seen, and `seen` what
    each flag looked like. `left` is of flags that were given more than was asked for: the
    after-image of that, which only its store understands (JSON).
    """

    contrary: str = ""
    doubt: str = ""
    seen: Mapping[str, str] = field(default_factory=dict[str, str])
    left: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def holds(self) -> bool:
        return not self.contrary


class LeftAlone(Exception):
    """A flag isn't as it was left, or is gone; says what was found, and what was expected."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of flags that were to be put back; those in neither list were so already.

    `put_back` are names, `left_alone` says why of each, `remarks` tell what stays of others.
    """

    put_back: Sequence[str]
    left_alone: Sequence[str]
    remarks: Sequence[str] = ()


class FlagStore(Protocol):
    """A place that keeps flags.

    Every method raises `TemporaryError` or `PermanentError` of the author's API.
    """

    @property
    def place(self) -> str:
        """Where the flags are, as people say it: `production (Unleash project default)`."""
        ...

    async def find(self, name: str, *, on: bool) -> Flag:
        """The before-image of a flag, once it is sure that it can be switched that way."""
        ...

    async def switch(self, switches: Sequence[Switch]) -> None:
        """Make them so; those already so are no error."""
        ...

    async def verify(self, switches: Sequence[Switch], *, seconds: float) -> Verdict:
        """Look until all are so, at the longest for that time."""
        ...

    async def restore(self, switches: Sequence[Switch], left: Mapping[str, Any]) -> Restored:
        """Put back what still is as `switch` left it; `left` is what `verify` said of that."""
        ...


def on_or_off(on: bool) -> str:
    return "on" if on else "off"
