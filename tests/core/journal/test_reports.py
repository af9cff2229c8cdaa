"""Claims on reports: one execution's come one after the other, and nothing is sent twice."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keptn_remedy.journal import Ending, Execution, Unsent
from keptn_remedy.journal.store import Reader
from tests.core.journals import DONE, REPLIES, SetClock, accepted, reports_of
from tests.core.places import AnyJournal


async def claimed(journal: AnyJournal, limit: int = 9) -> tuple[list[str], bool]:
    found = await journal.claim_reports(limit)
    assert all(unsent.is_claimed for unsent in found.items)
    return [f"{u.report.execution} {u.report.kind}" for u in found.items], found.is_left


async def told(
    journal: AnyJournal, clock: SetClock, event_id: str = "1"
) -> tuple[Execution, Unsent, Unsent]:
    """A finished execution, and the reports of its beginning and its end."""
    execution = await accepted(journal, event_id, event_id)
    started, finished = reports_of(execution, clock)
    first = await journal.begin(execution, started)
    assert first
    (last,) = await journal.finish(execution, Ending(DONE), attempts=1, reports=[finished])
    return execution, first, last


async def test_a_report_that_was_just_stored_is_claimed(
    journal: AnyJournal, clock: SetClock
) -> None:
    _, started, finished = await told(journal, clock)
    assert started.is_claimed
    assert finished.is_claimed
    assert await claimed(journal) == ([], False)


async def test_no_report_is_claimed_of_which_another_of_the_execution_is(
    journal: AnyJournal, clock: SetClock
) -> None:
    _, started, finished = await told(journal, clock)
    journal.release_report(finished)
    assert await claimed(journal) == ([], True)
    await journal.forget([started])
    assert await claimed(journal) == (["1 finished"], False)


async def test_the_first_of_an_execution_comes_first_when_all_are_given_back(
    journal: AnyJournal, clock: SetClock
) -> None:
    _, started, finished = await told(journal, clock)
    journal.release_report(started)
    journal.release_report(finished)
    assert await claimed(journal) == (["1 started"], True)


async def test_what_is_postponed_is_left_and_due_later(
    journal: AnyJournal, clock: SetClock
) -> None:
    _, started, finished = await told(journal, clock)
    await journal.postpone(started, clock.now() + 5, "refused")
    journal.release_report(finished)
    found = await journal.claim_reports(9)
    assert found == ([], True, clock.now() + 5)  # not now, when the finished would be due
    clock.time += 5
    assert await claimed(journal) == (["1 started"], True)


async def test_what_is_parked_is_neither_claimed_nor_left(
    journal: AnyJournal, clock: SetClock
) -> None:
    _, started, finished = await told(journal, clock)
    entry = await journal.park(started, "401", REPLIES.error_log(None, clock.utc(), "refused"))
    assert entry
    assert entry.is_claimed
    journal.release_report(finished)
    assert await claimed(journal) == ([], False)
    journal.release_report(entry)
    assert await claimed(journal) == (["None log.error"], False)


async def test_reports_of_no_execution_do_not_wait_for_each_other(
    journal: AnyJournal, clock: SetClock
) -> None:
    for text in ("one", "two"):
        journal.release_report(await journal.owe(REPLIES.error_log(None, clock.utc(), text)))
    assert await claimed(journal, 1) == (["None log.error"], True)
    assert await claimed(journal, 9) == (["None log.error"], False)


async def test_a_look_that_took_long_finds_nothing_that_was_delivered_meanwhile(
    journal: AnyJournal, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = journal._read_at_once

    async def read_and_deliver(look: Callable[[Reader], object]) -> object:
        _, started, finished = await told(journal, clock)
        found = await read(look)
        await journal.forget([started, finished])
        return found

    monkeypatch.setattr(journal, "_read_at_once", read_and_deliver)
    assert (await journal.claim_reports(9)).items == []


async def test_those_that_are_longest_due_come_first(journal: AnyJournal, clock: SetClock) -> None:
    for event_id in ("1", "2"):
        execution, started, finished = await told(journal, clock, event_id)
        await journal.forget([finished])
        later = clock.now() + (9 if execution.id == "1" else 5)
        await journal.postpone(started, later, "refused")
    clock.time += 10
    assert await claimed(journal, 1) == (["2 started"], True)


async def test_what_keptn_lost_is_owed_again_unless_something_is_still_to_be_sent(
    journal: AnyJournal, clock: SetClock
) -> None:
    _, started, finished = await told(journal, clock)
    lost = [started.report, finished.report]
    record = await journal.record("1")
    assert record
    assert await journal.told(["1"]) == []
    assert await journal.owe_again(record, lost) == []
    await journal.forget([started, finished])
    assert [each.id for each in await journal.told(["1", "unknown"])] == ["1"]
    owed = await journal.owe_again(record, lost)
    assert [(unsent.report, unsent.is_claimed) for unsent in owed] == [(r, True) for r in lost]
    assert await journal.told(["1"]) == []


async def test_what_was_parked_is_due_again_and_in_doubt(
    journal: AnyJournal, clock: SetClock
) -> None:
    _, started, finished = await told(journal, clock)
    await journal.park(started, "400")
    journal.release_report(finished)
    assert await journal.resend("another") == []
    assert await journal.resend("1") == [started.handle, finished.handle]
    assert [report.state for report in await journal.owed_reports(9)] == ["unsent", "unsent"]
    (first,) = (await journal.claim_reports(9)).items
    assert (first.report.kind, first.doubtful, first.attempts) == ("started", True, 0)
