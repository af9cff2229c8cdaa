"""`remedy journal backup`, `restore` and `copy`: copies of the whole journal, and back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from keptn_remedy import journal
from keptn_remedy.cli.opened_journal import journal_path, place_at
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    complain,
    is_terminal,
    reason,
    say,
)
from keptn_remedy.journal import Counts, JournalUnusable
from keptn_remedy.support.variables import SettingsError

STREAM = "-"


def back_up(file: str) -> int:
    """Copy the journal to a file or to standard output; returns the exit code."""
    if file == STREAM and is_terminal():
        complain(["a terminal can't take the copy: name a file, or redirect the output"])
        return WRONG_USAGE

    def carry_out(path: Path) -> None:
        if file == STREAM:
            journal.back_up_to_stream(path, sys.stdout.buffer)
        else:
            content = journal.back_up(path, Path(file))
            say(f"backed up to {file}: {_in_words(content)}")

    return _with_path(lambda: carry_out(journal_path()))


def restore(file: str) -> int:
    """Put the copy in the place of the journal; returns the exit code."""

    def carry_out(path: Path) -> None:
        content = journal.restore(path, sys.stdin.buffer if file == STREAM else Path(file))
        say(f"restored {path}: {_in_words(content)}")

    return _with_path(lambda: carry_out(journal_path()))


def copy(source: str, target: str) -> int:
    """Copy the journal from one place to another; returns the exit code."""

    def carry_out() -> None:
        content = journal.copy(place_at(source), place_at(target))
        say(f"copied to {place_at(target)}: {_in_words(content)}")

    return _with_path(carry_out)


def _with_path(carry_out: Callable[[], None]) -> int:
    try:
        carry_out()
    except SettingsError as error:
        complain(error.mistakes)
        return WRONG_USAGE
    except JournalUnusable as error:
        complain([str(error)])
        return FAILED
    except OSError as error:
        complain([reason(error)])
        return FAILED
    return GOOD


def _in_words(content: Counts) -> str:
    executions = "1 execution" if content.executions == 1 else f"{content.executions} executions"
    return f"{executions}, {content.open} of them open"
