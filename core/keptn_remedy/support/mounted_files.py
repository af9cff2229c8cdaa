"""Reads mounted files: a limited length, in a limited time."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

OVERDUE_SECONDS: Final = 3.0


def why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    """The reason in words, without the error number and the path."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "there is no such file"
    return (isinstance(error, OSError) and error.strerror) or str(error)


class Content(NamedTuple):
    """The text of a file, and when it was modified, as a Unix time in seconds."""

    text: str
    changed_at: float


class MountedFile:
    """A file of which at most `most` characters are read, in a thread because mounts may hang."""

    def __init__(self, path: Path, most: int, *, errors: str = "strict") -> None:
        self.path = path
        self._most = most
        self._errors = errors
        self._reading: asyncio.Task[Content] | None = None

    async def read(self, *, anew: bool = False) -> Content:
        """Read it, within `OVERDUE_SECONDS`.

        A read that takes longer goes on, and a later call returns its result; with `anew`, such a
        result is thrown away and the file read again.

        Raises:
            OSError: it can't be read, or isn't a regular file. TimeoutError: it takes too long.
            UnicodeDecodeError: it isn't text.
        """
        if anew and self._reading and self._reading.done():
            self._reading.exception()  # else asyncio logs that nobody retrieved it
            self._reading = None
        reading = self._reading or asyncio.create_task(
            asyncio.to_thread(content_of, self.path, self._most, errors=self._errors)
        )
        self._reading = reading
        await asyncio.wait([reading], timeout=OVERDUE_SECONDS)
        if not reading.done():
            raise TimeoutError("it takes too long")
        self._reading = None
        return reading.result()


def content_of(path: Path, most: int, *, errors: str = "strict") -> Content:
    """At most `most` characters of a file. It waits for a mount that hangs, and for nothing else.

    Raises:
        OSError: it can't be read, or isn't a regular file. UnicodeDecodeError: it isn't text.
    """
    with open(path, encoding="utf-8", errors=errors, opener=_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError("it isn't a regular file")
        return Content(file.read(most), status.st_mtime)


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # else opening a FIFO waits for a writer
