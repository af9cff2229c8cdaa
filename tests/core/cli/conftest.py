"""Journals, flags and providers that the commands meet."""

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
    """As a running service has it."""
    opened = SqliteJournal.open(tmp_path / JOURNAL)
    yield opened
    await opened.close()
