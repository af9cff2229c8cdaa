"""Whole notifications that are noted, in either journal."""

from __future__ import annotations

from tests.core.journals import accepted
from tests.core.places import AnyJournal


async def test_what_is_noted_whole_is_there_once_until_it_is_told(journal: AnyJournal) -> None:
    execution = await accepted(journal, "1")
    about = {"notification": {"title": "please"}, "channels": ["hook"]}
    for _ in range(2):
        await journal.note_ready("asked 1", execution.id, about)
    (noted,) = await journal.notices(9)
    assert (noted.key, noted.kind, noted.execution) == ("asked 1", "ready", "1")
    assert noted.about == about
    await journal.notify([], ["asked 1"])
    assert await journal.notices(9) == []
