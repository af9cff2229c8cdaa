"""Flags in a flagd JSON file."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from keptn_remedy import Denied, PermanentError
from keptn_remedy_actions.flag_backends import (
    Evaluation,
    Flag,
    LeftAlone,
    Restored,
    Switch,
    Wish,
    flagd_definition,
    near,
    on_or_off,
    variant,
)
from keptn_remedy_actions.flag_backends.flagd_definition import Definition
from keptn_remedy_actions.flag_backends.flagd_document import Document
from keptn_remedy_actions.flag_backends.flagd_file import FlagsFile, NoFile, in_thread


@dataclass(frozen=True, slots=True)
class FlagdFile:
    """A `FlagStore` in one file of https://flagd.dev/schema/v0/flags.json."""

    path: Path

    SETTLE_SECONDS: ClassVar[float] = 1.0
    """How long a change must hold: twice the interval at which flagd's providers read the file."""
    LOOK_SECONDS: ClassVar[float] = 0.2

    @property
    def place(self) -> str:
        return f"{self.path} (flagd)"

    async def find(self, name: str, wish: Wish) -> Flag:
        return await asyncio.to_thread(self._find, name, wish)

    async def switch(self, switches: Sequence[Switch]) -> None:
        def switch(document: Document) -> Document:
            self._check(document)
            for one in switches:
                document = self._switched(document, one)
            return document

        await in_thread(lambda: self._file.edit(switch))

    async def verify(self, switches: Sequence[Switch], *, seconds: float) -> Evaluation:
        """Look for so long that each application has read the file, at least."""
        end = time.monotonic() + min(seconds, self.SETTLE_SECONDS)
        while True:
            evaluation = await asyncio.to_thread(self._look, switches)
            if not evaluation.holds or time.monotonic() >= end:
                return evaluation
            await asyncio.sleep(self.LOOK_SECONDS)

    async def restore(self, switches: Sequence[Switch], left: Mapping[str, Any]) -> Restored:
        put_back, left_alone = list[str](), list[str]()

        def restore(document: Document) -> Document:
            for switch in switches:
                name, image = switch.flag.name, switch.flag.image
                try:
                    before = flagd_definition.restored(document.flags, switch)
                except LeftAlone as error:
                    left_alone.append(f"{name} in {self.place} {error}")
                    continue
                if before is not None:
                    written = flagd_definition.written_of(image)
                    document = document.with_fields(name, before, written)
                    put_back.append(name)
            return document

        try:
            await in_thread(lambda: self._file.edit(restore))
        except NoFile:
            raise Denied(f"{self.path} is gone") from None
        return Restored(put_back, left_alone)

    @property
    def _file(self) -> FlagsFile:
        return FlagsFile(self.path)

    def _find(self, name: str, wish: Wish) -> Flag:
        document = self._file.document()
        definition = self._definition(document.flags, name)
        self._check(document)
        after = self._wished(name, flagd_definition.fields(definition), definition, wish)
        goal = flagd_definition.enabled({**definition, **after}, wish)
        image = flagd_definition.image(definition, document.written(name))
        enabled = flagd_definition.enabled(definition, wish)
        is_share = isinstance(wish, str) and goal != variant(wish)
        shared = str(goal) if is_share else ""
        return Flag(name, f"flagd:{self.path}#{name}", enabled, image, share=shared)

    def _check(self, document: Document) -> None:
        """Refuse a file that applications refuse: they would not see the change."""
        for name, definition in document.flags.items():
            if fault := flagd_definition.fault(definition):
                raise PermanentError(
                    f"flag {name} in {self.place} {fault}, so applications refuse the whole file;"
                    " correct that first"
                )

    def _look(self, switches: Sequence[Switch]) -> Evaluation:
        document = self._file.document()
        self._check(document)
        found = [(s, self._enabled(document.flags, s)) for s in switches]
        contrary = [f"{s.flag.name} is {_said(is_)}" for s, is_ in found if is_ != s.wanted]
        seen = {s.flag.name: _said(enabled) for s, enabled in found}
        return Evaluation(f"{', '.join(contrary)} in {self.place}" if contrary else "", seen=seen)

    def _enabled(self, flags: Definition, switch: Switch) -> bool | str:
        definition = self._definition(flags, switch.flag.name)
        return flagd_definition.enabled(definition, switch.wish)

    def _switched(self, document: Document, switch: Switch) -> Document:
        name = switch.flag.name
        definition = self._definition(document.flags, name)
        before = flagd_definition.fields_of(switch.flag.image)
        after = self._wished(name, before, definition, switch.wish)
        now = flagd_definition.fields(definition)
        if now not in (before, after):
            raise PermanentError(
                f"{name} was changed by somebody else in {self.place}"
                " after this was planned; nothing was overwritten"
            )
        return document.with_fields(name, after, {})

    def _wished(
        self, name: str, before: Definition, definition: Definition, wish: Wish
    ) -> Definition:
        variants: Definition = definition["variants"]
        after = flagd_definition.wished(before, variants, wish)
        if after is None:
            raise flagd_definition.lack(self.place, name, variants, wish)
        return after

    def _definition(self, flags: Definition, name: str) -> Definition:
        definition = flags.get(name)
        if definition is None:
            raise PermanentError(f"there is no flag {name} in {self.place}{near(name, flags)}")
        if not flagd_definition.has_map(definition, "variants"):
            raise PermanentError(f"flag {name} in {self.place} has no map of variants")
        return definition


def _said(enabled: bool | str) -> str:
    return enabled if isinstance(enabled, str) else on_or_off(enabled)
