"""What was paused is kept, whichever replica heard of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from keptn_remedy.action import JSON
from keptn_remedy.guardrails.brake import BrakeHistory, past_pauses
from keptn_remedy.guardrails.pauses import Pauses
from tests.core.places import AnyJournal


async def paused_by(journal: AnyJournal, file: Path) -> Pauses:
    """A replica's own file pauses it."""
    await asyncio.to_thread(file.write_text, "why")
    pauses = Pauses(journal, file)
    await pauses.look()
    return pauses


async def test_a_pause_that_another_replica_notes_at_the_same_time_is_kept_as_well(
    journal: AnyJournal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await paused_by(journal, tmp_path / "first")
    second = await paused_by(journal, tmp_path / "second")
    recall, meanwhile = journal.recall, list[Callable[[], Awaitable[object]]]()
    meanwhile.append(lambda: BrakeHistory(journal).note(second, 2.0))

    async def recall_and_wait(action: str, key: str) -> JSON:
        found = await recall(action, key)
        if meanwhile:
            await meanwhile.pop()()
        return found

    monkeypatch.setattr(journal, "recall", recall_and_wait)
    history = BrakeHistory(journal)
    for now in (1.0, 3.0):  # twice a second, in a service
        await history.note(first, now)
    by = [each.by for each in await past_pauses(journal)]
    assert sorted(by) == [f"file {tmp_path}/first", f"file {tmp_path}/second"]


async def test_a_pause_that_every_replica_sees_is_kept_once(journal: AnyJournal) -> None:
    pauses, histories = Pauses(journal), [BrakeHistory(journal) for _ in range(2)]
    pause = await pauses.pause("ada", "the network")
    for history in histories:
        await history.note(pauses, 1.0)
    await pauses.resume("ben")
    for history in histories:
        await history.note(pauses, 2.0)
    [kept] = await past_pauses(journal)
    assert (kept.by, kept.since) == ("ada", pause.since.timestamp())
    assert (kept.until, kept.ended_by) == (2.0, "ben")
