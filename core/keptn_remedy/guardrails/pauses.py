"""What stops everything that acts: a pause in the journal, or a file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from keptn_remedy.journal import Pause

MAX_REASON_CHARACTERS = 1_000
_NO = ("false", "no", "off", "0")


class Pauses:
    """The pause that holds now. `journaled` is what the journal said last.

    A file pauses for as long as it is there, unless it says no (`false`, `no`, `off`, `0`); its
    text is the reason. A key of a mounted ConfigMap is such a file.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.journaled: Pause | None = None
        self._file = file

    def current(self) -> Pause | None:
        """The pause of the file, else that of the journal; None where nothing is stopped."""
        return self._of_file() or self.journaled

    def _of_file(self) -> Pause | None:
        if self._file is None:
            return None
        try:
            since = datetime.fromtimestamp(self._file.stat().st_mtime, UTC)
            said = self._file.read_text(encoding="utf-8", errors="replace")
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            # Somebody may mean to stop us.
            return Pause(f"file {self._file}", f"it can't be read: {error}", datetime.now(UTC))
        reason = " ".join(said[:MAX_REASON_CHARACTERS].split())
        if reason.lower() in _NO:
            return None
        return Pause(f"file {self._file}", reason or "no reason given", since)
