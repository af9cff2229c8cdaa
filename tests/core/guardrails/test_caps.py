"""No cap is ever exceeded, whatever happens: the real rails, on a journal that is reopened, and on
one that two replicas share.

`CAP_HISTORIES` and `SHARED_CAP_HISTORIES` set how many histories are tried.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings

from keptn_remedy.journal import group_commit
from keptn_remedy.journal.postgres import PostgresJournal
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.guardrails.caps import Limits
from tests.core.guardrails.histories import Open, Step, World, policies, steps
from tests.core.places import PostgresPlace
from tests.postgres_server import PostgresServer

HISTORIES = int(os.environ.get("CAP_HISTORIES", "5000"))
SHARED_HISTORIES = int(os.environ.get("SHARED_CAP_HISTORIES", "8"))
PARTS = 4
IN_MEMORY = Path("/dev/shm")  # noqa: S108  a folder of ours is made there
NUMBERS = count()


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Where fsync is quick, if there is such a place; with an empty journal to begin from."""
    with TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None) as made:
        asyncio.run(_empty_journal(Path(made) / "empty.db"))
        yield Path(made)


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as opened:
        yield opened


@pytest.fixture
def _no_pause_between_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits are not delayed to gather more changes: thousands of small journals are written."""
    monkeypatch.setattr(group_commit, "PACE_SECONDS", 0.0)


async def _empty_journal(path: Path) -> None:
    await SqliteJournal.open(path).close()


@pytest.mark.timeout(120 + HISTORIES // 10)
@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.usefixtures("_no_pause_between_commits")
def test_no_cap_is_exceeded_and_nothing_is_refused_below_one(
    part: int, folder: Path, runner: asyncio.Runner
) -> None:
    @settings(max_examples=HISTORIES // PARTS)
    @given(policies, steps)
    def check(policy: tuple[Limits, Limits] | None, history: list[Step]) -> None:
        path = folder / f"{part}-{next(NUMBERS)}.db"
        shutil.copyfile(folder / "empty.db", path)
        runner.run(_play([partial(_open_file, path)], policy, history))
        for file in folder.glob(f"{path.name}*"):
            file.unlink()

    check()


@pytest.mark.timeout(120 + SHARED_HISTORIES)
@pytest.mark.usefixtures("_no_pause_between_commits")
def test_no_cap_is_exceeded_by_replicas_that_take_turns(
    postgres: PostgresServer, runner: asyncio.Runner
) -> None:
    @settings(max_examples=SHARED_HISTORIES)
    @given(policies, steps)
    def check(policy: tuple[Limits, Limits] | None, history: list[Step]) -> None:
        place = PostgresPlace(postgres, lambda: 0.0)
        runner.run(_play([partial(_open_shared, place)] * 2, policy, history))

    check()


def _open_file(path: Path, now: Callable[[], float]) -> SqliteJournal:
    return SqliteJournal.open(path, now=now)


def _open_shared(place: PostgresPlace, now: Callable[[], float]) -> PostgresJournal:
    return place.open(now=now, lease_seconds=60.0)


async def _play(
    open_journals: Sequence[Open], policy: tuple[Limits, Limits] | None, history: list[Step]
) -> None:
    world = World(open_journals, policy)
    try:
        for step in history:
            await world.take(step)
    finally:
        await world.close()
