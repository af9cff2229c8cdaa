"""Whoever finds the waiting room full rests in the journal, and goes on as if it had waited."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from pathlib import Path

import pytest
import pytest_asyncio

from keptn_remedy.engine import waiting_room
from keptn_remedy.journal import Execution
from keptn_remedy.journal.ownership import Alone
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.guardrails.railing import Ask, Rig, rigged
from tests.waiting import until

ASKED = "mode: approve, approve_within: 15m"
ASKS = [Ask((name,), service=name) for name in ("carts", "orders", "users")]
PLAIN = Ask(action="greet", service="plain")


@pytest_asyncio.fixture
async def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    monkeypatch.setattr(waiting_room, "MOST_INSIDE", 1)
    async with rigged(tmp_path) as rig:
        yield rig


async def all_waiting(rig: Rig, *asks: Ask) -> list[str]:
    """All of them wait, and one alone is in memory."""
    ids = [await rig.asking(ask) for ask in asks]
    await until(lambda: len(rig.service.engine.waiting_room) == len(asks))
    await until(lambda: rig.service.engine.dispatcher.running == 1)
    return ids


async def test_a_verdict_finds_whoever_rests(rig: Rig) -> None:
    rig.write(ASKED)
    async with rig.serving(max_concurrent=2):
        first, second, third, plain = await all_waiting(rig, *ASKS, PLAIN)
        await rig.answer(third, "denied")
        assert "denied by ann" in (await rig.ended(third)).message
        for execution in (second, first, plain):
            await rig.answer(execution, "approved")
            assert (await rig.ended(execution)).result == "pass"
            assert len(rig.keptn.started(execution)) == 1
    assert rig.knobs.numbers == {"carts": 2, "orders": 2}


async def test_whoever_rests_is_denied_when_its_time_is_over(rig: Rig) -> None:
    rig.write(ASKED)
    async with rig.serving():
        ids = await all_waiting(rig, *ASKS)
        rig.clock.forward(901)
        for execution in ids:
            assert "nobody approved within 15m" in (await rig.ended(execution)).message
    assert rig.knobs.numbers == {}


async def test_whoever_rests_hears_of_an_abort(rig: Rig) -> None:
    rig.write(ASKED)
    async with rig.serving() as service:
        *others, last = await all_waiting(rig, *ASKS)
        rig.keptn.abort(last)
        assert await service.journal.note_abort(last, "the sequence was aborted")
        service.engine.abort(last, "the sequence was aborted")

        async def is_aborted() -> bool:
            return bool((await rig.detail(last))["status"] == "aborted")

        await until(is_aborted)
        assert len(service.engine.waiting_room) == 2
        for execution in others:
            await rig.answer(execution, "denied")
            await rig.ended(execution)


class Shared(Alone):
    """The ownership of one of several replicas; `noted` are the aborts that others noted."""

    is_shared = True

    def __init__(self) -> None:
        self.noted: dict[str, str] = {}

    async def aborted(self, running: Collection[str]) -> dict[str, str]:
        return {id_: why for id_, why in self.noted.items() if id_ in running}


async def test_whoever_rests_hears_of_an_abort_that_another_replica_noted(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = Shared()
    monkeypatch.setattr(SqliteJournal, "ownership", shared)
    rig.write(ASKED)
    async with rig.serving() as service:
        *others, last = await all_waiting(rig, *ASKS)
        rig.keptn.abort(last)
        assert last in service.engine.waiting_room.resting
        assert await service.journal.note_abort(last, "the sequence was aborted")
        shared.noted[last] = "the sequence was aborted"

        async def is_aborted() -> bool:
            return bool((await rig.detail(last))["status"] == "aborted")

        await until(is_aborted)
        for execution in others:
            await rig.answer(execution, "denied")
            await rig.ended(execution)


async def test_who_rests_is_read_again_when_the_lease_is_lost(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another replica may have taken it, and it holds its lane here."""
    read: list[str] = []
    read_again = SqliteJournal.read_again

    async def note(self: SqliteJournal, handle: int) -> Execution | None:
        found = await read_again(self, handle)
        read.extend([found.id] if found else [])
        return found

    monkeypatch.setattr(SqliteJournal, "read_again", note)
    rig.write(ASKED)
    async with rig.serving() as service:
        ids = await all_waiting(rig, *ASKS)
        resting = service.engine.waiting_room.resting
        service.engine.lose()
        await until(lambda: set(read) >= set(resting))
        for execution in ids:
            await rig.answer(execution, "denied")
            await rig.ended(execution)


async def test_each_gets_its_turn_whether_it_rested_or_not(rig: Rig) -> None:
    rig.write("at_once: 1, turn_within: 5m")
    gate = rig.knobs.shut()
    async with rig.serving() as service:
        first = await rig.deliver(ASKS[0])
        await gate.until_entered(1)
        others = [await rig.deliver(Ask((name,), service=name)) for name in "abcdefghijkl"]
        await until(lambda: len(service.engine.waiting_room) == len(others))
        gate.open()
        for execution in (first, *others):
            assert (await rig.ended(execution)).result == "pass"
    assert gate.most_at_once == 1


async def test_whoever_rests_for_a_turn_too_long_is_refused(rig: Rig) -> None:
    rig.write("at_once: 1, turn_within: 5m")
    gate = rig.knobs.shut()
    async with rig.serving() as service:
        await rig.deliver(ASKS[0])
        await gate.until_entered(1)
        others = [await rig.deliver(ask) for ask in ASKS[1:]]
        await until(lambda: len(service.engine.waiting_room) == 2)
        rig.clock.forward(301)
        for execution in others:
            assert "no turn came within 5m" in (await rig.ended(execution)).message
        gate.open()


async def test_whoever_rests_is_taken_up_by_the_next_process(rig: Rig) -> None:
    rig.write(ASKED)
    async with rig.serving():
        ids = await all_waiting(rig, *ASKS)
    async with rig.serving():
        await until(lambda: len(rig.service.engine.waiting_room) == len(ids))
        for execution in ids:
            await rig.answer(execution, "approved")
            assert (await rig.ended(execution)).result == "pass"
