"""A real journal on a clock that is set, for whoever asks for one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.journals import SetClock


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest_asyncio.fixture
async def journal(path: Path, clock: SetClock) -> AsyncIterator[SqliteJournal]:
    opened = SqliteJournal.open(path, now=clock.now)
    yield opened
    await opened.close()
