"""Flags in a flagd JSON file, written atomically and only where nobody else has written."""

from __future__ import annotations

import asyncio
import difflib
import errno
import fcntl
import json
import os
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeGuard, cast

from keptn_remedy import Denied, PermanentError, TemporaryError
from keptn_remedy_actions.flag_backends import (
    Flag,
    LeftAlone,
    Restored,
    Switch,
    Verdict,
    on_or_off,
)

# What decides how a flag evaluates, and so what we write and put back.
FIELDS = ("state", "defaultVariant", "targeting")
_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN, errno.EINTR)
# Watchers poll the modification time and want a newer one; two writes may fall into one clock tick.
_TICK_NANOSECONDS = 10_000_000

Definition = dict[str, Any]


class NoFile(PermanentError):
    """There is no such file."""


@dataclass(frozen=True, slots=True)
class FlagdFile:
    """A `FlagStore` over one file of https://flagd.dev/schema/v0/flags.json."""

    path: Path

    LOCK_SECONDS: ClassVar[float] = 2.0
    """How long another process may hold the file."""

    @property
    def place(self) -> str:
        return f"{self.path} (flagd)"

    async def find(self, name: str, *, on: bool) -> Flag:
        return await asyncio.to_thread(self._find, name, on)

    async def switch(self, switches: Sequence[Switch]) -> None:
        def switch(flags: Definition) -> None:
            for one in switches:
                self._switch(self._definition(flags, one.flag.name), one)

        await _to_the_end(lambda: self._edit(switch))

    async def verify(self, switches: Sequence[Switch], *, seconds: float) -> Verdict:
        flags = self._flags(await asyncio.to_thread(self._read))
        found = [(s, _enabled(self._definition(flags, s.flag.name), s.on)) for s in switches]
        contrary = [f"{s.flag.name} is {_said(enabled)}" for s, enabled in found if enabled != s.on]
        seen = {s.flag.name: _said(enabled) for s, enabled in found}
        return Verdict(f"{', '.join(contrary)} in {self.place}" if contrary else "", seen=seen)

    async def restore(self, switches: Sequence[Switch], left: Mapping[str, Any]) -> Restored:
        put_back, left_alone = list[str](), list[str]()

        def restore(flags: Definition) -> None:
            for switch in switches:
                try:
                    if _restore(flags, switch):
                        put_back.append(switch.flag.name)
                except LeftAlone as error:
                    left_alone.append(f"{switch.flag.name} in {self.place} {error}")

        try:
            await _to_the_end(lambda: self._edit(restore))
        except NoFile:
            raise Denied(f"{self.path} is gone") from None
        return Restored(put_back, left_alone)

    def _find(self, name: str, on: bool) -> Flag:
        definition = self._definition(self._flags(self._read()), name)
        self._variant(name, definition, on)
        image = _image(definition)
        return Flag(name, f"flagd:{self.path}#{name}", _enabled(definition, on), image)

    def _switch(self, definition: Definition, switch: Switch) -> None:
        before = _loaded(switch.flag.image)
        as_found = {"variants": definition["variants"], **before}
        after = _after(before, self._variant(switch.flag.name, as_found, switch.on))
        if (now := _fields(definition)) == after:
            return
        if now != before:
            raise PermanentError(
                f"{switch.flag.name} was changed by somebody else in {self.place}"
                " after this was planned; nothing was overwritten"
            )
        _write_fields(definition, after)

    def _definition(self, flags: Definition, name: str) -> Definition:
        definition = flags.get(name)
        if definition is None:
            raise PermanentError(f"there is no flag {name} in {self.place}{_similar(name, flags)}")
        if not _has_map(definition, "variants"):
            raise PermanentError(f"flag {name} in {self.place} has no map of variants")
        return definition

    def _variant(self, name: str, definition: Definition, on: bool) -> str:
        choice = _choice(definition, on)
        if choice is None:
            known = ", ".join(definition["variants"])
            raise PermanentError(
                f"flag {name} in {self.place} has no variant that is {on_or_off(on)}: it has"
                f" {known or 'none'}; give it one with the value {json.dumps(on)},"
                f" or one named {on_or_off(on)}"
            )
        return choice

    def _edit(self, change: Callable[[Definition], None]) -> None:
        with self._failures_told(), self._locked():
            text = self._read()
            document = self._parsed(text)
            change(document["flags"])
            if document != self._parsed(text):
                self._replace(text, _written_like(text, document))

    def _read(self) -> str:
        with self._failures_told():
            return self.path.read_bytes().decode()

    def _flags(self, text: str) -> Definition:
        flags: Definition = self._parsed(text)["flags"]
        return flags

    def _parsed(self, text: str) -> Definition:
        try:
            document: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise PermanentError(f"{self.path} is not JSON: {error}") from None
        if not _has_map(document, "flags"):
            raise PermanentError(f'{self.path} is no flagd file: it has no map named "flags"')
        return document

    def _replace(self, expected: str, text: str) -> None:
        """Put the text there in one step, unless somebody wrote since `expected` was read."""
        # A mounted file is often a link: the file it names is the one to replace.
        path = self.path.resolve()
        was = path.stat()
        # Always the same name: what a crash leaves behind is cleared away by the next write.
        beside = path.with_name(f".{path.name}.keptn-remedy")
        beside.unlink(missing_ok=True)
        try:
            with beside.open("xb") as file:
                file.write(text.encode())
                file.flush()
                _take_after(file.fileno(), was)
                os.fsync(file.fileno())
            if self._read() != expected:
                raise TemporaryError(f"{self.path} is being written by somebody else", delay=0.1)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        _sync_folder(path.parent)

    @contextmanager
    def _locked(self) -> Generator[None]:
        """One writer of ours at a time, in whichever process; editors know nothing of it."""
        folder = os.open(self.path.resolve().parent, os.O_RDONLY)
        try:
            self._lock(folder)
            yield
        finally:
            os.close(folder)

    def _lock(self, folder: int) -> None:
        give_up = time.monotonic() + self.LOCK_SECONDS
        while True:
            try:
                return fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > give_up:
                    raise TemporaryError(f"another process holds {self.path}") from None
            time.sleep(0.01)

    @contextmanager
    def _failures_told(self) -> Generator[None]:
        try:
            yield
        except UnicodeDecodeError:
            raise PermanentError(f"{self.path} is not JSON: it is not UTF-8 text") from None
        except FileNotFoundError:
            raise NoFile(f"there is no file {self.path}: set FLAGD_FILE") from None
        except OSError as error:
            message = f"{self.path} can't be changed: {error.strerror}{_hint(error)}"
            raise (TemporaryError if error.errno in _PASSING else PermanentError)(message) from None


def _has_map(value: Any, name: str) -> TypeGuard[Definition]:
    return isinstance(value, dict) and isinstance(cast("Definition", value).get(name), dict)


async def _to_the_end(work: Callable[[], None]) -> None:
    """Run it in a thread, and wait for it even when cancelled: a write must not follow its undo."""
    thread = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.gather(thread, return_exceptions=True)
        raise


def _choice(definition: Definition, on: bool) -> str | None:
    """The variant that means on or off: by its value, else by its name."""
    variants = definition["variants"]
    by_value = [name for name, value in variants.items() if value is on]
    default = _default_variant(definition)
    if default in by_value:
        return default
    if by_value:
        return on_or_off(on) if on_or_off(on) in by_value else by_value[0]
    is_boolean = any(isinstance(value, bool) for value in variants.values())
    return on_or_off(on) if on_or_off(on) in variants and not is_boolean else None


def _enabled(definition: Definition, on: bool) -> bool | str:
    """Whether it is on for every caller; text where something else than the file's wish decides."""
    if definition.get("state") != "ENABLED":
        return "state DISABLED, left to the callers' defaults"
    if definition.get("targeting"):
        return "decided by targeting"
    default = _default_variant(definition)
    if default is None:
        return "no default variant, left to the callers' defaults"
    for wish in (on, not on):
        if default == _choice(definition, wish):
            return wish
    return f"variant {default}"


def _default_variant(definition: Definition) -> str | None:
    default = definition.get("defaultVariant")
    if isinstance(default, bool):  # flagd takes true for the variant "true"
        return json.dumps(default)
    return default if isinstance(default, str) and default else None


def _after(before: Definition, variant: str) -> Definition:
    after = {**before, "state": "ENABLED", "defaultVariant": variant}
    if before.get("targeting"):
        after["targeting"] = {}
    return after


def _restore(flags: Definition, switch: Switch) -> bool:
    """Put the fields back; False when they are so already.

    Raises:
        LeftAlone: they aren't as we left them.
    """
    definition = flags.get(switch.flag.name)
    if not _has_map(definition, "variants"):
        raise LeftAlone("is gone")
    before, now = _loaded(switch.flag.image), _fields(definition)
    if now == before:
        return False
    variant = _choice({"variants": definition["variants"], **before}, switch.on)
    if variant is None or _lacks_default(definition, switch.flag.image):
        raise LeftAlone("was given other variants since, so it is left alone")
    if differences := _differences(now, _after(before, variant)):
        raise LeftAlone(f"was changed since ({differences}), so it is left alone")
    _write_fields(definition, before)
    return True


def _lacks_default(definition: Definition, image: str) -> bool:
    """Whether the default variant of before isn't there any more; it may never have been."""
    before = json.loads(image)
    default = _default_variant(before)
    return default in before.get("variants", ()) and default not in definition["variants"]


def _differences(now: Definition, expected: Definition) -> str:
    """What was found, and what was expected, field by field."""
    return ", ".join(
        f"{name} is {_brief(now.get(name))}, and {_brief(expected.get(name))} was expected"
        for name in FIELDS
        if now.get(name) != expected.get(name)
    )


def _brief(value: Any) -> str:
    if isinstance(value, dict):
        return "a rule" if value else "none"
    return "none" if value is None else str(value)


def _fields(definition: Definition) -> Definition:
    return {name: definition[name] for name in FIELDS if name in definition}


def _write_fields(definition: Definition, fields: Definition) -> None:
    for name in FIELDS:
        if name in fields:
            definition[name] = fields[name]
        else:
            definition.pop(name, None)


def _image(definition: Definition) -> str:
    # As text: targeting may hold what the journal's JSON can't, such as integers over 64 bits.
    return json.dumps({**_fields(definition), "variants": list(definition["variants"])})


def _loaded(image: str) -> Definition:
    """The fields that decided."""
    return _fields(json.loads(image))


def _said(enabled: bool | str) -> str:
    return enabled if isinstance(enabled, str) else on_or_off(enabled)


def _similar(name: str, flags: Definition) -> str:
    near = difflib.get_close_matches(name, flags, n=3, cutoff=0.5)
    return f"; did you mean {' or '.join(near)}?" if near else ""


def _written_like(text: str, document: Definition) -> str:
    """The document, indented as the text was."""
    indent = re.search(r"\n([ \t]+)\S", text)
    spread = '": ' in text
    return json.dumps(
        document,
        indent=indent[1] if indent else None,
        separators=None if indent else (", ", ": ") if spread else (",", ":"),
        # Escapes stay escapes: they may be halves of characters, which no UTF-8 can hold.
        ensure_ascii=text.isascii() or "\\u" in text,
    ) + ("\n" if text.endswith("\n") else "")


def _take_after(descriptor: int, was: os.stat_result) -> None:
    """Keep mode and owner, and make the modification time newer than it was."""
    with suppress(PermissionError):  # only root may give files away
        os.fchown(descriptor, was.st_uid, was.st_gid)
    os.fchmod(descriptor, was.st_mode & 0o7777)
    newer = max(time.time_ns(), was.st_mtime_ns + _TICK_NANOSECONDS)
    os.utime(descriptor, ns=(newer, newer))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _hint(error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return " (mount the folder that holds it, not the file alone)"
    if error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return " (its folder must be writable: a temporary file is put beside it)"
    return ""
