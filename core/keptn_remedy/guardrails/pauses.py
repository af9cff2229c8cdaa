"""The pause in force: one in the journal, or a pause file."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from keptn_remedy.journal import Admissions, Pause
from keptn_remedy.support.mounted_files import MountedFile, why_unreadable

MAX_REASON_CHARACTERS = 1_000
MAX_CHARACTERS = 4_096
_NO = ("false", "no", "off", "0")


class KnowsPause(Protocol):
    """Knows the pause in force. It may change at any time."""

    @property
    def current(self) -> Pause | None: ...


@dataclass(frozen=True, slots=True)
class NoPause:
    """Knows of no pause, and never will."""

    current: None = None


class PauseFile:
    """A file that pauses while it exists, unless its text is `false`, `no`, `off` or `0`.

    Its text is the reason. The file may be a key of a mounted ConfigMap. One that exists and can't
    be read pauses too.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._file = MountedFile(path, MAX_CHARACTERS, errors="replace") if path else None
        self._seen: Pause | None = None

    async def look(self) -> Pause | None:
        """Read the file now. While its text stays the same, the pause keeps its time."""
        found = await _pause_of(self._file) if self._file else None
        if not (found and self._seen and found.reason == self._seen.reason):
            self._seen = found
        return self._seen


class Pauses:
    """The pause in force, as known to this process. The journal's pause is written only here.

    `current` is the file's pause, else the journal's. None: executions may act. `ended_by` is who
    ended the last one through this process.
    """

    def __init__(self, journal: Admissions, file: Path | None = None) -> None:
        self._journal = journal
        self._file = PauseFile(file)
        self._by_file: Pause | None = None
        self._journaled: Pause | None = None
        self._orders = 0
        self.current: Pause | None = None
        self.ended_by: str | None = None

    @property
    def by_file(self) -> Pause | None:
        """The file's pause, as of the last `look`."""
        return self._by_file

    async def look(self) -> None:
        """Read the pause file."""
        self._by_file = await self._file.look()
        self.current = self._by_file or self._journaled

    async def refresh(self) -> None:
        """Read the journal's pause: another process may have written or ended it.

        Raises:
            JournalError: the journal can't be read; the pause known so far stays in force.
        """
        while True:
            orders = self._orders
            found = await self._journal.paused()
            # An order that came during the read is newer than what was read.
            if orders == self._orders:
                return self._know(found)

    async def pause(self, by: str, reason: str) -> Pause:
        """Store a pause in the journal, in place of an earlier one; in force on return.

        Raises:
            JournalError: it was not stored.
        """
        pause = await self._journal.pause(by, reason)
        self.ended_by = None
        self._note(pause)
        return pause

    async def resume(self, by: str | None = None) -> Pause | None:
        """End the journal's pause and return it. A file's pause stays in force.

        Raises:
            JournalError: the pause was not ended.
        """
        ended = await self._journal.resume()
        self.ended_by = by
        self._note(None)
        return ended

    def _note(self, journaled: Pause | None) -> None:
        self._orders += 1
        self._know(journaled)

    def _know(self, journaled: Pause | None) -> None:
        self._journaled = journaled
        self.current = self._by_file or journaled


def still_paused_words(by_file: Pause, ended: Pause | None) -> str:
    """Why executions stay paused after `resume`; `ended` is the journal's pause that it ended."""
    why = f"still paused by {by_file.by}: {by_file.reason}; remove that file to resume"
    return f"{why} (the pause by {ended.by} has ended)" if ended else why


def unapprovable_words(by_file: Pause) -> str:
    """Why an approval is rejected: the guard would refuse the execution at once."""
    return f"paused by {by_file.by}: {by_file.reason}; remove that file, then approve"


async def _pause_of(file: MountedFile) -> Pause | None:
    try:
        text, changed_at = await file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        # An unreadable file may be meant to pause: refusing is the safer error.
        why = f"it can't be read: {why_unreadable(error)}"
        return Pause(f"file {file.path}", why, datetime.now(UTC))
    reason = " ".join(text.split())[:MAX_REASON_CHARACTERS]
    if reason.lower() in _NO:
        return None
    return Pause(f"file {file.path}", reason or "no reason given", _moment(changed_at))


def _moment(seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return datetime.now(UTC)
