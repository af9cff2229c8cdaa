"""Reading files that somebody mounted: the beginning, and without being held up by them."""

from __future__ import annotations

import asyncio
import os
import stat
from pathlib import Path
from typing import Final, NamedTuple

OVERDUE_SECONDS: Final = 3.0


def why_unreadable(error: OSError | UnicodeDecodeError) -> str:
    """In words, without the system's number and the path."""
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "there is no such file"
    return (isinstance(error, OSError) and error.strerror) or str(error)


class Content(NamedTuple):
    """What a file says, and its time in Unix seconds."""

    text: str
    changed_at: float


class MountedFile:
    """A file of which `most` characters are read, in a thread: its mount may hang."""

    def __init__(self, path: Path, most: int, *, errors: str = "strict") -> None:
        self.path = path
        self._most = most
        self._errors = errors
        self._reading: asyncio.Task[Content] | None = None

    async def read(self, *, anew: bool = False) -> Content:
        """What it says now. `anew`: what came too late for an earlier call is forgotten.

        Raises:
            OSError: it can't be read, or is no regular file; TimeoutError while that takes too
                long: it is gone on with by the next call.
            UnicodeDecodeError: it is no text.
        """
        if anew and self._reading and self._reading.done():
            self._reading.exception()  # else asyncio complains that nobody looked
            self._reading = None
        reading = self._reading or asyncio.create_task(asyncio.to_thread(self._read))
        self._reading = reading
        await asyncio.wait([reading], timeout=OVERDUE_SECONDS)
        if not reading.done():
            raise TimeoutError("it takes too long")
        self._reading = None
        return reading.result()

    def _read(self) -> Content:
        with open(self.path, encoding="utf-8", errors=self._errors, opener=_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError("it is no regular file")
            return Content(file.read(self._most), status.st_mtime)


def _at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # else a FIFO waits for somebody who writes
