"""Executions that orders are about, and the service that takes the orders up."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from keptn_remedy.journal import Execution
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.commands import (
    Said,
)
from tests.ordering import JOURNAL, say
from tests.waiting import until

Prepare = Callable[[SqliteJournal], Awaitable[Execution]]


@asynccontextmanager
async def left_by_a_service(folder: Path) -> AsyncIterator[SqliteJournal]:
    """To be prepared or looked at while no service runs."""
    opened = SqliteJournal.open(folder / JOURNAL)
    try:
        yield opened
    finally:
        await opened.close()


async def prepared(folder: Path, prepare: Prepare) -> str:
    async with left_by_a_service(folder) as journal:
        return (await prepare(journal)).id


async def show(folder: Path, execution_id: str) -> str:
    return (await say(folder, "journal", "show", execution_id)).out


async def answered(journal: SqliteJournal) -> None:
    async def is_answered() -> bool:
        return bool(await journal.answered())

    await until(is_answered)


async def wanted(journal: SqliteJournal, execution: Execution) -> None:
    async def is_wanted() -> bool:
        return bool(await journal.due_undos(time.time(), 1))

    await until(is_wanted)
    await journal.begin_undo(execution.id)


async def while_saying(
    said: Awaitable[Said], play: Callable[[], Awaitable[object]]
) -> tuple[Said, object]:
    """A command, and what the service does meanwhile."""
    return await asyncio.gather(said, play())
