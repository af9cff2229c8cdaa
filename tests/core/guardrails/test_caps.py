"""No cap is ever exceeded, whatever happens: the real rails, on a journal that is reopened."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings

from keptn_remedy.journal import group_commit
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.guardrails.caps import Limits
from tests.core.guardrails.histories import Step, World, policies, steps

HISTORIES = int(os.environ.get("CAP_HISTORIES", "5000"))
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
        runner.run(_play(path, policy, history))
        for file in folder.glob(f"{path.name}*"):
            file.unlink()

    check()


async def _play(path: Path, policy: tuple[Limits, Limits] | None, history: list[Step]) -> None:
    world = World(path, policy)
    try:
        for step in history:
            await world.take(step)
    finally:
        await world.close()
