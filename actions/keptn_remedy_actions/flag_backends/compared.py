"""Flags that are set from the values that a plan recorded, and from no others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from keptn_remedy import PermanentError, TemporaryError
from keptn_remedy_actions.flag_backends import (
    Evaluation,
    Flag,
    LeftAlone,
    Restored,
    Switch,
    Wish,
    on_or_off,
    variant,
)
from keptn_remedy_actions.flag_backends.restoring import restored

_MOST_CONFLICTS = 5


class Raced(TemporaryError):
    """The flag was changed while it was set, so nothing was set."""


@dataclass(frozen=True, slots=True)
class Found:
    """A flag as it was read.

    `fields` is JSON: all of it that is ever set, and restored. `facts` is what setting it needs.
    """

    fields: Any
    facts: Any = None
    warnings: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class _Look:
    """How a flag evaluates, what is contrary about that, and what could not be seen."""

    said: str
    contrary: str = ""
    doubt: str = ""


class Backend(Protocol):
    """Flags in one place of one kind of store.

    Methods raise TemporaryError or PermanentError; `Gone` where there is no such flag.
    """

    @property
    def place(self) -> str:
        """The place in words: `production (LaunchDarkly project shop)`."""
        ...

    def target(self, name: str) -> str:
        """The flag as a target: `launchdarkly:shop/production/hero`."""
        ...

    async def read(self, name: str) -> Found: ...

    def enabled(self, found: Found, wish: Wish) -> bool | str:
        """As `Flag.enabled`: a bool, a percentage as `share` tells it, a variant, or other text."""
        ...

    def wished(self, name: str, found: Found, wish: Wish) -> Any:
        """The fields that make it so. Raises PermanentError where none do."""
        ...

    async def write(self, name: str, found: Found, fields: Any) -> None:
        """Set the fields of a flag that was found so. Raises `Raced` where the store says that it
        was changed meanwhile.
        """
        ...

    async def examine(self) -> str:
        """What is good about the connection, for `remedy doctor`; it changes nothing."""
        ...

    async def seen(self, name: str) -> bool | None:
        """Whether applications see it on; None where that can't be looked at. Raises TemporaryError
        where it can, and they can't be asked now.
        """
        ...


@dataclass(frozen=True, slots=True)
class ComparedFlags:
    """A `FlagStore` of any back end. The image of a flag has its fields before and after."""

    backend: Backend

    POLL_SECONDS: ClassVar[float] = 0.5
    SETTLE_SECONDS: ClassVar[float] = 10.0
    """How long the store and its applications may take to show what was set."""

    @property
    def place(self) -> str:
        return self.backend.place

    async def find(self, name: str, wish: Wish) -> Flag:
        with self._understood():
            found = await self.backend.read(name)
            after = Found(self.backend.wished(name, found, wish), found.facts)
            enabled, goal = (self.backend.enabled(each, wish) for each in (found, after))
        is_share = isinstance(wish, str) and goal != variant(wish)
        return Flag(
            name,
            self.backend.target(name),
            enabled,
            {"before": found.fields, "after": found.fields if enabled == goal else after.fields},
            warnings=found.warnings,
            share=str(goal) if is_share else "",
        )

    async def switch(self, switches: Sequence[Switch]) -> None:
        for switch in switches:
            try:
                await self._set(switch.flag.name, *_before_and_after(switch))
            except LeftAlone:
                raise PermanentError(
                    f"{switch.flag.name} was changed by somebody else in {self.place}"
                    " after this was planned; nothing was overwritten"
                ) from None

    async def _set(self, name: str, before: Any, after: Any) -> bool:
        """Set the fields from `before` to `after`; False where they are so already.

        Raises:
            LeftAlone: they are neither.
        """
        raced: Raced | None = None
        for _ in range(_MOST_CONFLICTS):
            found = await self._read(name)
            if found.fields == after:
                return False
            if found.fields != before:
                raise LeftAlone("was changed since, so it is left alone")
            try:
                await self.backend.write(name, found, after)
            except Raced as error:
                raced = error
            else:
                return True
        raise TemporaryError(f"{name} in {self.place} kept changing: {raced}")

    async def verify(self, switches: Sequence[Switch], *, seconds: float) -> Evaluation:
        """Look until the flags are as they were set, and applications see them so."""
        end = time.monotonic() + min(seconds, self.SETTLE_SECONDS)
        while True:
            looks = [await self._look(switch) for switch in switches]
            contrary = ", ".join(look.contrary for look in looks if look.contrary)
            doubts = dict.fromkeys(look.doubt for look in looks if look.doubt)
            if not (contrary or doubts) or time.monotonic() >= end:
                break
            await asyncio.sleep(self.POLL_SECONDS)
        seen = {s.flag.name: look.said for s, look in zip(switches, looks, strict=True)}
        if contrary:
            return Evaluation(f"{contrary} in {self.place}", seen=seen)
        return Evaluation(doubt=", ".join(doubts), seen=seen)

    async def _look(self, switch: Switch) -> _Look:
        name = switch.flag.name
        with self._understood():
            found = await self.backend.read(name)
            said = _said(self.backend.enabled(found, switch.wish))
        _, after = _before_and_after(switch)
        if found.fields != after:
            return _Look(said, f"{name} is no longer {switch.said}: it was changed to {said}")
        try:
            seen = await self.backend.seen(name) if isinstance(switch.wish, bool) else None
        except TemporaryError as error:
            return _Look(said, doubt=str(error))
        if seen is None or seen is switch.on:
            return _Look(said)
        served = on_or_off(seen)
        return _Look(served, f"{switch}, but applications still see it {served}")

    async def restore(self, switches: Sequence[Switch], left: Mapping[str, Any]) -> Restored:
        async def restore(switch: Switch) -> Sequence[str] | None:
            before, after = _before_and_after(switch)
            if not await self._set(switch.flag.name, after, before):
                return None
            await self._check_restored(switch)
            return ()

        return await restored(switches, self.place, restore)

    async def _check_restored(self, switch: Switch) -> None:
        before, _ = _before_and_after(switch)
        if (await self._read(switch.flag.name)).fields != before:
            raise TemporaryError(f"{switch} in {self.place} was not undone: changed meanwhile")

    async def _read(self, name: str) -> Found:
        with self._understood():
            return await self.backend.read(name)

    @contextmanager
    def _understood(self) -> Generator[None]:
        """Any JSON may come from a server that isn't the store."""
        try:
            yield
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            raise PermanentError(
                f"what {self.place} answers is not understood: check its address"
            ) from None


def _before_and_after(switch: Switch) -> tuple[Any, Any]:
    return switch.flag.image["before"], switch.flag.image["after"]


def _said(enabled: bool | str) -> str:
    return enabled if isinstance(enabled, str) else on_or_off(enabled)
