"""Journals, flags and providers that the commands meet."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from keptn_remedy.journal.sqlite import SqliteJournal
from tests.ordering import JOURNAL


@pytest.fixture
def flags(tmp_path: Path) -> Path:
    path = tmp_path / "flags.json"
    flag = {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "on"}
    path.write_bytes(orjson.dumps({"flags": {"Campaign": flag}}))
    return path


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """As a running service has it, which hears orders."""
    opened = SqliteJournal.open(tmp_path / JOURNAL)
    hearing = asyncio.create_task(_hear(opened))
    yield opened
    hearing.cancel()
    await asyncio.gather(hearing, return_exceptions=True)
    await opened.close()


async def _hear(journal: SqliteJournal) -> None:
    while True:
        if not await journal.all_heard():
            await journal.note_heard(await journal.orders_given())
        await asyncio.sleep(0.01)
