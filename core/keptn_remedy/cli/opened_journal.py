"""How a command opens the journal that `REMEDY_JOURNAL` names, and what it says if it can't."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from keptn_remedy import settings
from keptn_remedy.cli.terminal import FAILED, WRONG_USAGE, complain
from keptn_remedy.journal import JournalError, JournalUnusable, Records
from keptn_remedy.support.variables import SettingsError

J = TypeVar("J", bound=Records)


def with_journal(use: Callable[[J], Awaitable[int]], open_at: Callable[[Path], J]) -> int:
    """Run a command on the journal; returns the command's exit code, or that of the mistake."""
    try:
        path = journal_path()
    except SettingsError as error:
        complain(error.mistakes)
        return WRONG_USAGE

    async def opened() -> int:
        journal = open_at(path)
        try:
            return await use(journal)
        finally:
            await journal.close()

    try:
        return asyncio.run(opened())
    except JournalUnusable as error:
        complain([str(error)])
        return FAILED
    except JournalError as error:
        complain([f"can't use the journal: {error}; check REMEDY_JOURNAL"])
        return FAILED


def journal_path() -> Path:
    """The file that `REMEDY_JOURNAL` names.

    Raises:
        SettingsError: the settings hold a mistake.
    """
    return settings.load(os.environ).journal
