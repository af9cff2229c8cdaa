"""Who may change a file: code is loaded only from where nobody else can write, as ssh does."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def why_not_trusted(path: Path) -> str | None:
    """Why somebody else could change the file or folder, or put another one in its place; None if
    nobody could. Root is trusted, so is what is mounted read-only.

    Raises:
        OSError: it can't be looked at.
    """
    path = path.resolve(strict=True)
    return _writer(path) or next(
        (why for parent in path.parents if (why := _replacer(parent))), None
    )


def _replacer(folder: Path) -> str | None:
    if folder.stat().st_mode & stat.S_ISVTX:  # like /tmp: nobody moves what others own
        return None
    return _writer(folder)


def _writer(path: Path) -> str | None:
    if os.statvfs(path).f_flag & os.ST_RDONLY:
        return None
    found = path.stat()
    mode = stat.S_IMODE(found.st_mode)
    if mode & stat.S_IWOTH:
        return f"everybody may write {path} (mode {mode:o})"
    if mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid()):
        return f"group {found.st_gid} may write {path} (mode {mode:o})"
    if found.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to user {found.st_uid}"
    return None
