"""Flags in a flagd JSON file."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keptn_remedy import Denied, PermanentError
from keptn_remedy_actions.flag_backends import (
    Evaluation,
    Flag,
    LeftAlone,
    Restored,
    Switch,
    flagd_definition,
    on_or_off,
)
from keptn_remedy_actions.flag_backends.flagd_definition import Definition
from keptn_remedy_actions.flag_backends.flagd_file import FlagsFile, NoFile, in_thread


@dataclass(frozen=True, slots=True)
class FlagdFile:
    """A `FlagStore` in one file of https://flagd.dev/schema/v0/flags.json."""

    path: Path

    @property
    def place(self) -> str:
        return f"{self.path} (flagd)"

    async def find(self, name: str, *, on: bool) -> Flag:
        return await asyncio.to_thread(self._find, name, on)

    async def switch(self, switches: Sequence[Switch]) -> None:
        def switch(flags: Definition) -> None:
            for one in switches:
                self._switch(self._definition(flags, one.flag.name), one)

        await in_thread(lambda: self._file.edit(switch))

    async def verify(self, switches: Sequence[Switch], *, seconds: float) -> Evaluation:
        flags = await asyncio.to_thread(self._file.flags)
        found = [(s, self._enabled(flags, s)) for s in switches]
        contrary = [f"{s.flag.name} is {_said(enabled)}" for s, enabled in found if enabled != s.on]
        seen = {s.flag.name: _said(enabled) for s, enabled in found}
        return Evaluation(f"{', '.join(contrary)} in {self.place}" if contrary else "", seen=seen)

    async def restore(self, switches: Sequence[Switch], left: Mapping[str, Any]) -> Restored:
        put_back, left_alone = list[str](), list[str]()

        def restore(flags: Definition) -> None:
            for switch in switches:
                try:
                    if flagd_definition.restore(flags, switch):
                        put_back.append(switch.flag.name)
                except LeftAlone as error:
                    left_alone.append(f"{switch.flag.name} in {self.place} {error}")

        try:
            await in_thread(lambda: self._file.edit(restore))
        except NoFile:
            raise Denied(f"{self.path} is gone") from None
        return Restored(put_back, left_alone)

    @property
    def _file(self) -> FlagsFile:
        return FlagsFile(self.path)

    def _find(self, name: str, on: bool) -> Flag:
        definition = self._definition(self._file.flags(), name)
        self._variant(name, definition, on)
        image = flagd_definition.image(definition)
        enabled = flagd_definition.enabled(definition, on=on)
        return Flag(name, f"flagd:{self.path}#{name}", enabled, image)

    def _enabled(self, flags: Definition, switch: Switch) -> bool | str:
        definition = self._definition(flags, switch.flag.name)
        return flagd_definition.enabled(definition, on=switch.on)

    def _switch(self, definition: Definition, switch: Switch) -> None:
        before = flagd_definition.fields_of(switch.flag.image)
        as_found = {"variants": definition["variants"], **before}
        variant = self._variant(switch.flag.name, as_found, switch.on)
        after = flagd_definition.switched(before, variant)
        if (now := flagd_definition.fields(definition)) == after:
            return
        if now != before:
            raise PermanentError(
                f"{switch.flag.name} was changed by somebody else in {self.place}"
                " after this was planned; nothing was overwritten"
            )
        flagd_definition.write_fields(definition, after)

    def _definition(self, flags: Definition, name: str) -> Definition:
        definition = flags.get(name)
        if definition is None:
            raise PermanentError(f"there is no flag {name} in {self.place}{_similar(name, flags)}")
        if not flagd_definition.has_map(definition, "variants"):
            raise PermanentError(f"flag {name} in {self.place} has no map of variants")
        return definition

    def _variant(self, name: str, definition: Definition, on: bool) -> str:
        choice = flagd_definition.choice(definition, on=on)
        if choice is None:
            known = ", ".join(definition["variants"])
            raise PermanentError(
                f"flag {name} in {self.place} has no variant that is {on_or_off(on)}: it has"
                f" {known or 'none'}; add one with the value {json.dumps(on)},"
                f" or one named {on_or_off(on)}"
            )
        return choice


def _said(enabled: bool | str) -> str:
    return enabled if isinstance(enabled, str) else on_or_off(enabled)


def _similar(name: str, flags: Definition) -> str:
    near = difflib.get_close_matches(name, flags, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""
