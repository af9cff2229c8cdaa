"""What toggle-feature needs of the stores of feature flags."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from keptn_remedy import PermanentError

Wish = bool | str
"""What a flag is to be: on, off, on for a percentage of callers, or the variant of this name."""

_PERCENTAGE = re.compile(r"([0-9]+) ?%")


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag as it was found: the before-image.

    `enabled` is True or False where that is so for every caller, else text that says what decides.
    `image` is JSON that only its store reads: enough to restore the flag. `adds` says what its
    store adds to it when it is switched, and `warnings` what else a person should know before.
    `share` is what `enabled` says once it is on for the percentage that is wished.
    """

    name: str
    target: str
    enabled: bool | str
    image: Any
    adds: str = ""
    warnings: Sequence[str] = ()
    share: str = ""


@dataclass(frozen=True, slots=True)
class Switch:
    """A flag as it was found, and whether it is to be on, or its wished variant."""

    flag: Flag
    on: bool
    variant: str = ""

    @classmethod
    def of(cls, flag: Flag, wish: Wish) -> Switch:
        return cls(flag, on=bool(wish), variant=wish if isinstance(wish, str) else "")

    @property
    def wish(self) -> Wish:
        return self.variant or self.on

    @property
    def wanted(self) -> bool | str:
        """What `Flag.enabled` is when it is as wished."""
        return self.flag.share or (variant(self.variant) if self.variant else self.on)

    @property
    def changes(self) -> bool:
        return self.flag.enabled != self.wanted

    @property
    def said(self) -> str:
        return self.variant or on_or_off(self.on)

    def __str__(self) -> str:
        return f"{self.flag.name} {self.said}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Whether the flags evaluate as they were switched.

    `contrary` says which don't, `doubt` what could not be seen, and `seen` how each flag evaluates.
    `left` has the after-images of what a store added to flags: JSON that only the store reads.
    """

    contrary: str = ""
    doubt: str = ""
    seen: Mapping[str, str] = field(default_factory=dict[str, str])
    left: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def holds(self) -> bool:
        return not self.contrary


class LeftAlone(Exception):
    """A flag was changed since, or is gone. Says what was found and what was expected."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What an undo did to the flags; those in no list were as before already.

    `put_back` are names, `left_alone` has a reason for each, and `remarks` say what else stays.
    """

    put_back: Sequence[str]
    left_alone: Sequence[str]
    remarks: Sequence[str] = ()


class FlagStore(Protocol):
    """A store of feature flags.

    Every method raises `TemporaryError` or `PermanentError` of the author's API.
    """

    @property
    def place(self) -> str:
        """The store in words: `production (Unleash project default)`."""
        ...

    async def find(self, name: str, wish: Wish) -> Flag:
        """The before-image of a flag. Raises PermanentError if it can't be switched that way."""
        ...

    async def switch(self, switches: Sequence[Switch]) -> None:
        """Switch the flags; those that are so already are skipped."""
        ...

    async def verify(self, switches: Sequence[Switch], *, seconds: float) -> Evaluation:
        """Look until all flags evaluate as switched, for `seconds` at most."""
        ...

    async def restore(self, switches: Sequence[Switch], left: Mapping[str, Any]) -> Restored:
        """Restore the flags that are still as `switch` left them; `left` is from `verify`."""
        ...


def on_or_off(on: bool) -> str:
    return "on" if on else "off"


def percentage(wish: Wish) -> int | None:
    """The percentage that is wished; None where on, off or a name is.

    Raises:
        PermanentError: it is more than 100.
    """
    found = _PERCENTAGE.fullmatch(wish) if isinstance(wish, str) else None
    if found is None:
        return None
    if len(found[1]) > 3 or int(found[1]) > 100:
        raise PermanentError(f"{wish} is no percentage: write a whole number from 0% to 100%")
    return int(found[1])


def share(percent: int) -> str:
    """How a percentage of callers is told."""
    return f"{percent}%"


def variant(name: str) -> str:
    """How a variant is told, where a flag is neither on nor off."""
    return f"variant {name}"


def near(name: str, known: Iterable[str]) -> str:
    """A question after the flag that was meant, as the end of a sentence; "" if none is near."""
    found = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(found)}?" if found else ""
