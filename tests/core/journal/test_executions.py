"""Claims on executions: one of a lane, the oldest first, and whatever nobody claims."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from keptn_remedy.events import ActionTriggered
from keptn_remedy.journal import Claimed, Ending, Execution, JournalError
from keptn_remedy.journal.store import Reader
from tests.core.journals import (
    DONE,
    PLAN,
    REPLIES,
    SetClock,
    accepted,
    allow,
    due_reports,
    trigger,
)
from tests.core.places import AnyJournal, Place


async def claimed(journal: AnyJournal, limit: int = 9) -> tuple[list[str], bool]:
    found = await journal.claim(limit)
    assert all(execution.is_claimed for execution in found.items)
    return [execution.id for execution in found.items], found.is_left


async def begun(journal: AnyJournal, which: ActionTriggered) -> bool:
    started = REPLIES.started(which, SetClock().utc())
    found = await journal.accept_and_begin(which, "wait", started)
    return found is not None and found.started is not None


async def test_what_is_accepted_is_claimed_unless_another_of_its_lane_is(
    journal: AnyJournal,
) -> None:
    first = await accepted(journal, "1", "carts")
    second = await accepted(journal, "2", "carts")
    other = await accepted(journal, "3", "orders")
    assert (first.is_claimed, second.is_claimed, other.is_claimed) == (True, False, True)
    assert await claimed(journal) == ([], True)
    await journal.finish(first, Ending(DONE), attempts=1)
    assert await claimed(journal) == (["2"], False)


async def test_the_oldest_of_each_lane_is_claimed_and_those_with_a_plan_first(
    place: Place, clock: SetClock
) -> None:
    journal = place.open()
    for number, service in enumerate(("carts", "carts", "orders", "users")):
        await accepted(journal, str(number), service)
    assert await journal.admit((await journal.next_in_lanes())[1], PLAN, [], allow) is None
    await journal.close()
    again = place.open()
    assert await claimed(again, 2) == (["2", "0"], True)
    assert await claimed(again, 2) == (["3"], True)
    assert await claimed(again, 2) == ([], True)
    await again.close()


async def test_what_is_released_may_be_claimed_anew_and_what_finished_may_not(
    journal: AnyJournal,
) -> None:
    execution = await accepted(journal)
    journal.release(execution)
    journal.release(execution)
    assert await claimed(journal) == (["1"], False)
    await journal.finish(execution, Ending(DONE), attempts=1)
    journal.release(execution)
    assert await claimed(journal) == ([], False)


async def test_a_claim_that_comes_while_the_journal_is_read_counts(
    journal: AnyJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = await accepted(journal)
    journal.release(execution)
    read = journal._read_at_once

    async def read_late(look: Callable[[Reader], object]) -> object:
        found = await read(look)
        journal._claims.take_alone(execution.lane, execution.handle)
        return found

    monkeypatch.setattr(journal, "_read_at_once", read_late)
    assert await journal.claim(9) == Claimed[Execution]([], is_left=False)


async def test_nothing_is_claimed_beside_a_younger_one_of_its_lane(
    journal: AnyJournal,
) -> None:
    older = await accepted(journal, "1", "carts")
    journal.release(older)
    younger = await accepted(journal, "2", "carts")
    if journal.ownership.is_shared:  # it might begin elsewhere, beside the older one
        assert not younger.is_claimed
        return
    assert younger.is_claimed
    assert await claimed(journal) == ([], True)
    journal.release(younger)
    assert await claimed(journal) == (["1"], True)


async def test_what_is_being_stored_to_wait_is_not_overtaken_by_what_comes_later(
    journal: AnyJournal,
) -> None:
    first = await accepted(journal, "1", "carts")
    second, third, other = trigger("2"), trigger("3"), trigger("4", "orders")
    storing = [asyncio.create_task(begun(journal, second))]
    await asyncio.sleep(0)
    journal.release(first)  # the lane is free, and the second is on its way to the disk
    storing += [asyncio.create_task(begun(journal, each)) for each in (third, other)]
    assert await asyncio.gather(*storing) == [False, False, True]


async def test_what_was_stored_in_spite_of_a_failed_commit_has_not_begun(
    journal: AnyJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    insert = journal._insert

    async def insert_and_fail(*given: Any) -> None:
        await insert(*given)
        raise JournalError("disk I/O error")

    with monkeypatch.context() as failing:
        failing.setattr(journal, "_insert", insert_and_fail)
        with pytest.raises(JournalError):
            await begun(journal, trigger("1"))
    (execution,) = (await journal.claim(9)).items
    assert execution.runs == 0
    journal.release(execution)  # there was no room
    (execution,) = (await journal.claim(9)).items
    assert (execution.runs, execution.is_begun) == (0, False)
    await journal.begin(execution, REPLIES.started(execution.trigger, SetClock().utc()))
    journal.release(execution)
    (execution,) = (await journal.claim(9)).items
    assert execution.runs == 1
    assert len(await due_reports(journal)) == 1


async def test_what_is_stored_to_wait_after_its_refusal_counts_when_it_begins(
    journal: AnyJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was refused when it was to begin at once; the next time its lane is busy."""

    async def fail(*_: Any) -> None:
        raise JournalError("disk I/O error")

    with monkeypatch.context() as failing:
        failing.setattr(journal, "_insert", fail)
        with pytest.raises(JournalError):
            await begun(journal, trigger("1"))
    before = await accepted(journal, "0")
    assert not await begun(journal, trigger("1"))
    await journal.finish(before, Ending(DONE), attempts=1)
    (execution,) = (await journal.claim(9)).items
    await journal.begin(execution, REPLIES.started(execution.trigger, SetClock().utc()))
    journal.release(execution)
    (execution,) = (await journal.claim(9)).items
    assert (execution.id, execution.runs) == ("1", 1)


async def test_what_was_stored_for_nobody_has_not_begun(journal: AnyJournal) -> None:
    accepting = asyncio.create_task(begun(journal, trigger("1")))
    await asyncio.sleep(0)
    accepting.cancel()
    await accepted(journal, "2", "orders")  # written after it
    (execution,) = (await journal.claim(9)).items
    assert (execution.id, execution.runs) == ("1", 0)


async def test_two_looks_at_once_claim_nothing_twice(journal: AnyJournal) -> None:
    for number in range(6):
        journal.release(await accepted(journal, str(number), str(number)))
    found = await asyncio.gather(*(claimed(journal, 4) for _ in range(2)))
    ids = [execution_id for look, _ in found for execution_id in look]
    assert len(ids) == len(set(ids))


async def test_what_cannot_be_read_is_held_and_stops_no_other_lane(
    journal: AnyJournal, place: Place
) -> None:
    for event_id in ("broken", "1"):
        journal.release(await accepted(journal, event_id, event_id))
    place.change("UPDATE executions SET event = 'broken' WHERE id = 'broken'")
    assert await claimed(journal) == (["1"], False)
    assert await claimed(journal) == ([], False)


async def test_a_stored_event_is_not_kept_in_memory_and_read_where_it_is_wanted(
    journal: AnyJournal,
) -> None:
    first = await accepted(journal)
    journal.release(first)
    (second,) = (await journal.claim(1)).items
    for execution in (first, second, *await journal.next_in_lanes()):
        event = orjson.loads(execution.trigger.body)
        assert event["id"] == execution.id
        assert await asyncio.to_thread(getattr, execution.trigger, "data") == event["data"]
        held = gc.get_referents(execution.trigger)
        assert not any(len(each) > 100 for each in held if isinstance(each, bytes | str))


async def test_an_event_that_cannot_be_read_any_more_is_an_error_of_the_journal(
    journal: AnyJournal, place: Place
) -> None:
    execution = await accepted(journal)
    place.change("DELETE FROM executions")
    with pytest.raises(JournalError):
        _ = execution.trigger.data


async def test_runs_of_what_waits_count_no_more_until_its_plan_is_admitted(
    journal: AnyJournal,
) -> None:
    async def runs_after(processes: int) -> int:
        for _ in range(processes):
            await journal.begin(execution, None)
        await journal.note_waiting(execution)
        stored = await journal.read_again(execution.handle)
        assert stored
        return stored.runs

    execution = await accepted(journal)
    assert await runs_after(0) == 0
    assert await runs_after(3) == 1
    await journal.admit(execution, PLAN, [], allow)
    assert await runs_after(3) == 4
