"""What a command reads or orders from: the journal that `REMEDY_JOURNAL` names, or the running
service that `--server` names; and what is said if neither can be used.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol, cast

from keptn_remedy import settings
from keptn_remedy.cli import server
from keptn_remedy.cli.desk import Desk, OrderDesk
from keptn_remedy.cli.episode_desk import EpisodeDesk, JournalEpisodes, RemoteEpisodes
from keptn_remedy.cli.remote_journal import RemoteJournal
from keptn_remedy.cli.server import RemoteService, ServerError
from keptn_remedy.cli.terminal import FAILED, WRONG_USAGE, complain
from keptn_remedy.journal import (
    Episodes,
    JournalError,
    JournalUnusable,
    Place,
    open_beside,
    open_read_only,
    place_of,
)
from keptn_remedy.support.variables import SettingsError


class _Closable(Protocol):
    async def close(self) -> None: ...


def with_desk(use: Callable[[Desk], Awaitable[int]]) -> int:
    """Run a command that reads; returns the command's exit code, or that of the mistake."""
    return _with(use, open_read_only, RemoteJournal)


def with_order_desk(use: Callable[[OrderDesk], Awaitable[int]]) -> int:
    """Run a command that orders; returns the command's exit code, or that of the mistake."""
    return _with(use, open_beside, RemoteJournal)


def with_episodes(use: Callable[[EpisodeDesk], Awaitable[int]]) -> int:
    """Run a command that reads episodes; returns its exit code, or that of the mistake."""
    return _with(use, _episodes_at, RemoteEpisodes)


def _episodes_at(place: Place) -> JournalEpisodes:
    journal = open_read_only(place)
    return JournalEpisodes(cast("Episodes", journal), journal.close)


def _with(
    use: Callable[[Any], Awaitable[int]],
    open_at: Callable[[Place], _Closable],
    ask: Callable[[RemoteService], _Closable],
) -> int:
    try:
        asked = server.chosen()
        place = journal_place()
    except SettingsError as error:
        complain(error.mistakes)
        return WRONG_USAGE
    if not asked and isinstance(place, Path) and not place.exists():
        hint = "set REMEDY_JOURNAL, or name a running service by --server"
        complain([f"there is no journal at {place}; {hint}"])
        return FAILED

    async def opened() -> int:
        desk = ask(asked) if asked else open_at(place)
        try:
            return await use(desk)
        finally:
            await desk.close()

    try:
        return asyncio.run(opened())
    except (JournalUnusable, ServerError) as error:
        complain([str(error)])
        return FAILED
    except JournalError as error:
        complain([f"can't use the journal: {error}; check REMEDY_JOURNAL"])
        return FAILED


def journal_place() -> Place:
    """The file or database that `REMEDY_JOURNAL` names.

    Raises:
        SettingsError: the settings hold a mistake.
    """
    return place_of(settings.load(os.environ))


def place_at(named: str) -> Place:
    """The place that `REMEDY_JOURNAL` would name by this.

    Raises:
        SettingsError: it is none, or other settings hold a mistake.
    """
    return place_of(settings.load({**os.environ, "REMEDY_JOURNAL": named}))


def journal_path() -> Path:
    """The file that `REMEDY_JOURNAL` names.

    Raises:
        SettingsError: the settings hold a mistake.
        JournalUnusable: it is a database.
    """
    place = journal_place()
    if isinstance(place, Path):
        return place
    raise JournalUnusable(
        f"the journal is in the database {place}: copy and restore it with pg_dump and pg_restore, "
        "or by remedy journal copy"
    )
