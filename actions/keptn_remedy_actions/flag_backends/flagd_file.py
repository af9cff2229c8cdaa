"""A flagd JSON file: read as a whole, and replaced in one step unless somebody else wrote to it."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from keptn_remedy import PermanentError, TemporaryError
from keptn_remedy_actions.flag_backends.flagd_document import Document, NotFlagd

_PASSING = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EAGAIN, errno.EINTR)
# Watchers compare modification times; two writes may fall into one tick of the file system's clock.
_TICK_NANOSECONDS = 10_000_000


class NoFile(PermanentError):
    """There is no such file."""


@dataclass(frozen=True, slots=True)
class FlagsFile:
    """One file of https://flagd.dev/schema/v0/flags.json. Its methods block.

    All raise PermanentError where the file can't be used, TemporaryError where that may pass.
    """

    path: Path

    LOCK_SECONDS: ClassVar[float] = 2.0
    """How long to wait for another process that has the file locked."""

    def document(self) -> Document:
        """What the file says."""
        return self._parsed(self.read())

    def edit(self, change: Callable[[Document], Document]) -> None:
        """Replace the document; the file is written only if that changes anything."""
        with self._errors_worded(), self._locked():
            text = self.read()
            changed = change(self._parsed(text)).text
            if changed != text:
                self._replace(text, changed)

    def read(self) -> str:
        """The whole text."""
        with self._errors_worded():
            return self.path.read_bytes().decode()

    def _parsed(self, text: str) -> Document:
        try:
            return Document(text)
        except NotFlagd as error:
            raise PermanentError(f"{self.path} {error}") from None

    def _replace(self, expected: str, text: str) -> None:
        """Replace the file in one step, unless its text is no longer the `expected` one."""
        # A mounted file is often a link: the file behind it is the one to replace.
        path = self.path.resolve()
        was = path.stat()
        # The name is always the same, so the next write removes what a crash left behind.
        beside = path.with_name(f".{path.name}.keptn-remedy")
        beside.unlink(missing_ok=True)
        try:
            with beside.open("xb") as file:
                file.write(text.encode())
                file.flush()
                _copy_attributes(file.fileno(), was)
                os.fsync(file.fileno())
            # An editor doesn't take our lock. It can still write between this look and the next
            # line; a file system has no compare-and-set.
            if self.read() != expected:
                raise TemporaryError(f"{self.path} is being written by somebody else", delay=0.1)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        _sync_folder(path.parent)

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Keep other writers of ours out, also those in other processes; editors ignore it."""
        folder = os.open(self.path.resolve().parent, os.O_RDONLY)
        try:
            self._lock(folder)
            yield
        finally:
            os.close(folder)

    def _lock(self, folder: int) -> None:
        deadline = time.monotonic() + self.LOCK_SECONDS
        while True:
            try:
                return fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TemporaryError(f"another process holds {self.path}") from None
            time.sleep(0.01)

    @contextmanager
    def _errors_worded(self) -> Generator[None]:
        try:
            yield
        except UnicodeDecodeError:
            raise PermanentError(f"{self.path} is not JSON: it is not UTF-8 text") from None
        except FileNotFoundError:
            raise NoFile(f"there is no file {self.path}: set FLAGD_FILE") from None
        except OSError as error:
            message = f"{self.path} can't be changed: {error.strerror}{_hint(error)}"
            raise (TemporaryError if error.errno in _PASSING else PermanentError)(message) from None


async def in_thread(work: Callable[[], None]) -> None:
    """Run it in a thread to its end, even when cancelled.

    Otherwise a write of a cancelled attempt could come after the undo of that attempt.
    """
    thread = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.gather(thread, return_exceptions=True)
        raise


def _copy_attributes(descriptor: int, was: os.stat_result) -> None:
    """Give the new file the old one's mode and owner, and a newer modification time."""
    with suppress(PermissionError):  # only root may change the owner
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
