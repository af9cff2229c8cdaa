"""The undoer: how many undos are under way at once, and which of them need no room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
import pytest_asyncio

from keptn_remedy import Change, Context, Outcome, Plan, PlannedAction
from keptn_remedy.engine.overdue import Overdue
from keptn_remedy.engine.runtime import Runtime
from keptn_remedy.engine.target_locks import TargetLocks
from keptn_remedy.engine.undo import undoer
from keptn_remedy.engine.undo.undoer import Undoer
from keptn_remedy.guardrails.defaults import ReplicaSettings
from keptn_remedy.guardrails.guard import Guard
from keptn_remedy.http_client import lent_session
from keptn_remedy.journal import DueUndo, Ending
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import ImpatientClock, registry_of
from tests.core.journals import DONE, accepted, allow

PLAN = Plan((Change("lamp", "light", "on", "off"),))


class Lamp(PlannedAction):
    """Counts its undos."""

    name = "wait"  # as the triggers of `accepted` call it
    undos: ClassVar[list[Plan]] = []

    async def plan(self, context: Context, value: Any) -> Plan:
        return PLAN

    async def apply(self, context: Context, plan: Plan) -> None:
        """Nothing to do."""

    async def verify(self, context: Context, plan: Plan) -> Outcome:
        return DONE

    async def undo(self, context: Context, plan: Plan) -> None:
        self.undos.append(plan)


@pytest_asyncio.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    opened = SqliteJournal.open(tmp_path / "journal.db")
    yield opened
    await opened.close()


async def due(journal: SqliteJournal, clock: ImpatientClock, *, is_cut_off: bool) -> DueUndo:
    execution = await accepted(journal, "1")
    await journal.admit(execution, PLAN, [], allow)
    await journal.finish(execution, Ending(DONE), attempts=1)
    assert await journal.want_undo("1", "an order", "ann") is None
    if is_cut_off:
        assert await journal.begin_undo("1")
        (found,) = await journal.undos_begun()
    else:
        (found,) = await journal.due_undos(clock.now(), 1)
    return found


@pytest.mark.parametrize("is_cut_off", [False, True])
async def test_only_an_undo_that_was_cut_off_needs_no_room(
    journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch, *, is_cut_off: bool
) -> None:
    monkeypatch.setattr(undoer, "UNDOS_AT_ONCE", 0)
    Lamp.undos.clear()
    clock = ImpatientClock()
    found = await due(journal, clock, is_cut_off=is_cut_off)
    async with lent_session() as http:
        runtime = Runtime(
            journal=journal, http=http, metrics=Metrics("test"), clock=clock, mask=Mask()
        )
        guard = Guard.built_in(journal, clock, ReplicaSettings().rules(None))
        await Undoer(runtime, registry_of(Lamp), guard, TargetLocks(), Overdue()).undo(found)
    undo = await journal.undo_of("1")
    assert undo
    assert (undo.state, len(Lamp.undos)) == (("done", 1) if is_cut_off else ("wanted", 0))
