"""A real journal on a clock that is set, and a mount that hangs, for whoever asks for one."""

from __future__ import annotations

import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from keptn_remedy.support import mounted_files
from tests.core.journals import SetClock
from tests.core.places import AnyJournal, Place, PostgresPlace, SqlitePlace
from tests.postgres_server import PostgresServer


@pytest.fixture
def clock() -> SetClock:
    return SetClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def answer_mount(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Mounted files hang, and are given up at once, until this is called."""
    answers, opens, seconds = threading.Event(), os.open, mounted_files.OVERDUE_SECONDS

    def open_late(*given: Any) -> int:
        assert answers.wait(20)
        return opens(*given)

    def answer() -> None:
        monkeypatch.setattr(mounted_files, "OVERDUE_SECONDS", seconds)
        answers.set()

    monkeypatch.setattr(mounted_files, "OVERDUE_SECONDS", 0.01)
    monkeypatch.setattr(os, "open", open_late)
    yield answer
    answers.set()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request: pytest.FixtureRequest, clock: SetClock) -> Iterator[Place]:
    """Where a journal is kept: each kind of it in turn."""
    if request.param == "sqlite":
        yield SqlitePlace(request.getfixturevalue("path"), clock.now)
        return
    server: PostgresServer = request.getfixturevalue("postgres")
    yield PostgresPlace(server, clock.now)


@pytest_asyncio.fixture
async def journal(place: Place) -> AsyncIterator[AnyJournal]:
    opened = place.open()
    yield opened
    await opened.close()
