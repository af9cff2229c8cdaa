"""What stops everything that acts: a pause in the journal, or a file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from keptn_remedy.guardrails.files import MountedFile, why_unreadable
from keptn_remedy.journal import Pause

MAX_REASON_CHARACTERS = 1_000
MAX_CHARACTERS = 4_096
_NO = ("false", "no", "off", "0")


class Pauses:
    """The pause that holds now. `journaled` is what the journal said last.

    A file pauses for as long as it is there, unless it says no (`false`, `no`, `off`, `0`); its
    text is the reason. A key of a mounted ConfigMap is such a file. What counts is how it was when
    somebody looked last.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.journaled: Pause | None = None
        self._file = MountedFile(file, MAX_CHARACTERS, errors="replace") if file else None
        self._filed: Pause | None = None

    def current(self) -> Pause | None:
        """The pause of the file, else that of the journal; None where nothing is stopped."""
        return self._filed or self.journaled

    @property
    def by_file(self) -> Pause | None:
        """The pause of the file."""
        return self._filed

    async def look(self) -> None:
        """Look at the file."""
        if self._file is None:
            return
        found = await _pause_of(self._file)
        was, self._filed = self._filed, found
        if was and found and was.reason == found.reason:
            self._filed = was  # the same pause


def still_paused_words(by_file: Pause, ended: Pause | None) -> str:
    """Why resuming was not enough; `ended` is the pause that it did end."""
    told = f"still paused by {by_file.by}: {by_file.reason}; it goes on once that file is gone"
    return f"{told} (the pause by {ended.by} has ended)" if ended else told


def unapprovable_words(by_file: Pause) -> str:
    """Why nothing is approved meanwhile: it would only be refused."""
    told = f"nothing may act while {by_file.by} pauses: {by_file.reason}"
    return f"{told}; approve once that file is gone"


async def _pause_of(file: MountedFile) -> Pause | None:
    try:
        text, changed_at = await file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        # Somebody may mean to stop us.
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
