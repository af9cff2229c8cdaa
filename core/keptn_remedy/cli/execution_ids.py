"""How people name an execution: its id, the beginning of one, `@last` or `@waiting`."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from keptn_remedy.cli import server
from keptn_remedy.cli.desk import Desk
from keptn_remedy.journal import Criteria, open_read_only

LAST, WAITING = "@last", "@waiting"
FEWEST_CHARACTERS = 4
MOST_SHOWN = 5
MOST_COMPLETED = 50
LIST_HINT = "remedy journal list shows all executions"


class NotOne(Exception):
    """No execution is named like this, or several are; the message says so."""


async def resolved(desk: Desk, given: str) -> str:
    """The id of the execution that is named. What names none is returned as it is: the command
    that looks for it says so.

    Raises:
        NotOne: there is none, or it could be several.
    """
    if given == LAST:
        newest = await desk.search(Criteria(), limit=1)
        return _the_only([record.id for record in newest], "there is no execution yet")
    if given == WAITING:
        asking = await desk.search(Criteria(asking=True), limit=MOST_SHOWN + 1)
        ids = [record.id for record in reversed(asking)]
        return _the_only(ids, "no execution waits for approval", "several wait for approval")
    if len(given) < FEWEST_CHARACTERS:
        return given
    found = await desk.ids_from(given, MOST_SHOWN + 1)
    if not found or given in found:
        return given
    return _the_only(found, "", f"several ids begin with {given!r}")


def _the_only(ids: list[str], none: str, several: str = "") -> str:
    if not ids:
        raise NotOne(f"{none}; {LIST_HINT}")
    if len(ids) > 1:
        more = ", and more" if len(ids) > MOST_SHOWN else ""
        raise NotOne(f"{several}: {', '.join(ids[:MOST_SHOWN])}{more}")
    return ids[0]


def completed(incomplete: str) -> list[str]:
    """What a shell offers while an id is typed: the newest ids that begin like this."""
    with suppress(Exception):
        return asyncio.run(_ids(incomplete))
    return []


async def _ids(incomplete: str) -> list[str]:
    from keptn_remedy.cli.opened_journal import journal_place
    from keptn_remedy.cli.remote_journal import RemoteJournal

    asked = server.chosen()
    desk: Desk = RemoteJournal(asked) if asked else open_read_only(journal_place())
    try:
        if not incomplete:
            return [record.id for record in await desk.search(Criteria(), limit=MOST_COMPLETED)]
        names = [name for name in (LAST, WAITING) if name.startswith(incomplete)]
        return names or await desk.ids_from(incomplete, MOST_COMPLETED)
    finally:
        await desk.close()
