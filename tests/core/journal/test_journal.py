"""The journal's promises, on real SQLite files."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest

from keptn_remedy import Outcome
from keptn_remedy.action import JSON
from keptn_remedy.journal import (
    Claimed,
    Ending,
    Execution,
    JournalError,
    JournalUnusable,
    insist,
    statements,
)
from tests.core.journals import (
    DONE,
    PLAN,
    REPLIES,
    SetClock,
    accepted,
    due_reports,
    nothing_for,
    reports_of,
    trigger,
)
from tests.core.places import AnyJournal, Place, in_sqlite


async def test_a_trigger_is_accepted_once(journal: AnyJournal) -> None:
    first, second = await asyncio.gather(
        journal.accept(trigger(), "wait"), journal.accept(trigger(), "wait")
    )
    assert first
    assert second is None


async def test_an_accepted_trigger_is_there_after_reopening(place: Place, clock: SetClock) -> None:
    journal = place.open()
    execution = await accepted(journal)
    await journal.close()
    again = place.open()
    found = await again.claim(9)
    await again.close()
    assert found == Claimed([execution], is_left=False)


async def test_a_started_is_owed_once_however_often_an_execution_begins(
    journal: AnyJournal, clock: SetClock
) -> None:
    execution = await accepted(journal)
    started, _ = reports_of(execution, clock)
    assert await journal.announce(execution, started)
    assert await journal.begin(execution, started) is None
    assert await journal.begin(execution, started) is None
    assert len(await due_reports(journal)) == 1
    assert (await journal.next_in_lanes())[0].runs == 2


async def test_the_backlog_tells_since_when_the_oldest_waits(
    journal: AnyJournal, clock: SetClock
) -> None:
    async def ages() -> tuple[float, float]:
        backlog = await journal.backlog()
        return backlog.oldest_open_seconds, backlog.oldest_unsent_seconds

    assert await ages() == (0, 0)
    first = await accepted(journal, "1")
    clock.time += 10
    second = await accepted(journal, "2", "orders")
    started = await journal.begin(first, reports_of(first, clock)[0])
    assert started
    clock.time += 5
    assert await ages() == (15, 5)
    await journal.park(started, "400")
    await journal.finish(first, Ending(DONE), attempts=1)
    assert await ages() == (5, 0)
    await journal.finish(second, Ending(DONE), attempts=1, reports=[reports_of(second, clock)[1]])
    clock.time += 2
    assert await ages() == (0, 2)
    clock.time -= 60  # a clock that was set back
    assert await ages() == (0, 0)


@in_sqlite
async def test_the_backlog_is_counted_without_walking_through_the_history(
    journal: AnyJournal, path: Path
) -> None:
    await accepted(journal)
    with sqlite3.connect(path) as reader:
        plan = [row[3] for row in reader.execute(f"EXPLAIN QUERY PLAN {statements.BACKLOG}")]
    steps = [step for step in plan if step.startswith(("SCAN", "SEARCH"))]
    assert all("INDEX" in step for step in steps if "executions" in step)
    assert not any("TEMP B-TREE" in step for step in plan)


async def test_finishing_twice_owes_one_finished(journal: AnyJournal, clock: SetClock) -> None:
    execution = await accepted(journal)
    _, finished = reports_of(execution, clock)
    first = await journal.finish(execution, Ending(DONE), attempts=1, reports=[finished])
    assert [unsent.report for unsent in first] == [finished]
    late = Ending(Outcome.errored("late"), is_failure=True)
    assert await journal.finish(execution, late, attempts=2, reports=[finished]) == []
    record = await journal.record(execution.id)
    assert record
    assert (record.state, record.result, record.message) == ("finished", "pass", "done")


async def test_the_returned_reports_are_those_that_are_stored(
    journal: AnyJournal, clock: SetClock
) -> None:
    execution = await accepted(journal)
    log_entry = REPLIES.error_log(execution.trigger, clock.utc(), "why")
    _, finished = reports_of(execution, clock)
    told = await journal.finish(execution, Ending(DONE), attempts=1, reports=[finished, log_entry])
    for unsent in told:
        assert (await due_reports(journal))[0] == unsent
        await journal.forget([unsent])
    assert await due_reports(journal) == []


async def test_a_plan_and_a_failure_survive_reopening(place: Place) -> None:
    journal = place.open()
    execution = await accepted(journal)
    await journal.admit(execution, PLAN, [], lambda history: None)
    await journal.keep_failure(execution, Outcome.failed("overridden"))
    await journal.close()
    again = place.open()
    found = await again.next_in_lanes()
    await again.close()
    assert (found[0].plan, found[0].failure) == (PLAN, Outcome.failed("overridden"))


async def test_reports_of_an_execution_are_due_one_after_the_other(
    journal: AnyJournal, clock: SetClock
) -> None:
    execution = await accepted(journal)
    started, finished = reports_of(execution, clock)
    await journal.begin(execution, started)
    await journal.finish(execution, Ending(DONE), attempts=1, reports=[finished])
    due = await due_reports(journal)
    assert [unsent.report.kind for unsent in due] == ["started"]
    await journal.postpone(due[0], clock.now() + 5, "refused")
    assert await due_reports(journal) == []
    clock.time += 5
    await journal.forget(await due_reports(journal))
    assert [u.report.kind for u in await due_reports(journal)] == ["finished"]


async def test_recovery_puts_every_unsent_report_in_doubt_for_a_grace_since_the_lock_was_taken(
    journal: AnyJournal, clock: SetClock
) -> None:
    execution = await accepted(journal)
    started, _ = reports_of(execution, clock)
    await journal.begin(execution, started)
    clock.time += 0.5  # such as for opening ports, and looking at what is open
    await journal.recover(2.0)
    clock.time += 1.25
    assert await due_reports(journal) == []
    clock.time += 0.25
    assert (await due_reports(journal))[0].doubtful


async def test_a_finished_never_follows_a_refused_started(
    journal: AnyJournal, clock: SetClock
) -> None:
    for event_id, finish_first in (("1", True), ("2", False)):
        execution = await accepted(journal, event_id, event_id)
        started, finished = reports_of(execution, clock)
        unsent = await journal.begin(execution, started)
        assert unsent
        if finish_first:
            await journal.finish(execution, Ending(DONE), attempts=1, reports=[finished])
        await journal.park(unsent, "401")
        if not finish_first:
            await journal.finish(execution, Ending(DONE), attempts=1, reports=[finished])
    assert await due_reports(journal) == []
    assert (await journal.backlog()).parked == 4


async def test_an_action_remembers_only_so_many_keys(journal: AnyJournal) -> None:
    async def kept(action: str, key: str, value: int) -> bool:
        return await journal.remember_within(2, action, key, value)

    assert [await kept("a", key, 1) for key in "xyz"] == [True, True, False]
    assert await kept("a", "y", 2)
    assert await kept("b", "z", 3)
    await journal.remember("a", "x", None)
    assert await kept("a", "z", 4)
    assert [await journal.recall("a", key) for key in "xyz"] == [None, 2, 4]


async def test_a_value_takes_the_place_of_the_one_that_was_read_and_of_no_other(
    journal: AnyJournal,
) -> None:
    async def kept(was: JSON, value: JSON) -> bool:
        return await journal.remember_instead(was, "a", "asked", value)

    first: JSON = [{"at": 1.1, "by": "ä"}]
    assert await kept(None, first)
    assert not await kept(None, [])
    assert not await kept([], [])
    assert await kept(await journal.recall("a", "asked"), [])
    assert await journal.recall("a", "asked") == []
    both = await asyncio.gather(kept([], ["one"]), kept([], ["two"]))
    assert sorted(both) == [False, True]


async def test_what_an_action_remembers_is_its_own(journal: AnyJournal) -> None:
    await journal.remember("a", "bad revisions", [1, 2])
    await journal.remember("a", "bad revisions", [1, 2, 3])
    assert await journal.recall("a", "bad revisions") == [1, 2, 3]
    assert await journal.recall("b", "bad revisions") is None
    await journal.remember("a", "bad revisions", None)
    assert await journal.recall("a", "bad revisions") is None


async def test_pruning_forgets_old_finished_executions_whose_reports_are_sent(
    journal: AnyJournal, clock: SetClock
) -> None:
    for event_id in ("old", "unsent", "open"):
        execution = await accepted(journal, event_id, event_id)
        if event_id != "open":
            owed = reports_of(execution, clock)[1:] if event_id == "unsent" else ()
            await journal.finish(execution, Ending(DONE), attempts=1, reports=owed)
    clock.time += 10
    young = await accepted(journal, "young", "young")
    await journal.finish(young, Ending(DONE), attempts=1)
    assert await journal.prune(clock.now() - 5, 100) == 1
    assert [r.id for r in await journal.records()] == ["young", "open", "unsent"]


async def test_what_comes_after_all_was_pruned_is_found(
    journal: AnyJournal, clock: SetClock
) -> None:
    for event_id in ("old", "newest"):
        await journal.finish(await accepted(journal, event_id), Ending(DONE), attempts=1)
    assert await journal.claim(9) == Claimed[Execution]([], is_left=False)
    assert await journal.prune(clock.now() + 1, 100) == 1
    execution = await accepted(journal, "1")
    journal.release(execution)
    assert [found.id for found in (await journal.claim(9)).items] == ["1"]


async def test_one_change_that_cannot_be_stored_does_not_take_others_along(
    journal: AnyJournal,
) -> None:
    unstorable = Outcome.passed("\udcff")  # no UTF-8
    first, second, third = [await accepted(journal, n, n) for n in "123"]
    results = await asyncio.gather(
        journal.finish(first, Ending(DONE), attempts=1),
        journal.finish(second, Ending(unstorable), attempts=1),
        journal.finish(third, Ending(DONE), attempts=1),
        return_exceptions=True,
    )
    assert isinstance(results[1], JournalError)
    states = {r.id: r.state for r in await journal.records()}
    assert states == {"1": "finished", "2": "accepted", "3": "finished"}


@in_sqlite
async def test_a_full_disk_refuses_and_heals(place: Place) -> None:
    journal = place.open()
    await accepted(journal)
    assert journal._writing
    connection = journal._writing._connection
    assert isinstance(connection, sqlite3.Connection)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(JournalError, match="full"):
        await journal.accept(trigger("2"), "x" * 40_000)
    assert journal.failure
    await journal.remember("a", "b", 1)  # on a fresh connection, without the limit
    await journal.rehearse()
    assert not journal.failure
    assert (await journal.record("1")) is not None
    await journal.close()


@in_sqlite
async def test_only_one_process_serves_from_a_journal(journal: AnyJournal, place: Place) -> None:
    with pytest.raises(JournalUnusable, match="another process"):
        place.open()
    reader = place.read_only()
    assert await reader.records() == []
    with pytest.raises(JournalError):
        await reader.remember("a", "b", 1)
    await reader.close()


async def test_a_closed_journal_refuses_writes(place: Place) -> None:
    journal = place.open()
    await journal.close()
    with pytest.raises(JournalError, match="closed"):
        await journal.remember("a", "b", 1)


@in_sqlite
async def test_no_look_of_the_service_walks_through_the_history(place: Place, path: Path) -> None:
    await place.open().close()
    connection = sqlite3.connect(path)
    looks = {
        name: sql
        for name, sql in vars(statements).items()
        if name in ("NEXT_IN_LANES", "PLANNED", "UNANNOUNCED", "STATES", "WHOLE")
    }
    looks["OPEN_RECORDS"] = statements.OPEN_RECORDS
    assert len(looks) == 6
    for name, sql in looks.items():
        plan = connection.execute(f"EXPLAIN QUERY PLAN {sql}", nothing_for(sql)).fetchall()
        walks = [row[3] for row in plan if row[3].startswith("SCAN executions")]
        assert all("INDEX executions_" in walk for walk in walks), name
    connection.close()


async def test_a_started_parked_in_an_earlier_process_still_takes_its_finished_along(
    place: Place, clock: SetClock
) -> None:
    journal = place.open()
    execution = await accepted(journal)
    started, finished = reports_of(execution, clock)
    unsent = await journal.begin(execution, started)
    assert unsent
    await journal.park(unsent, "401")
    await journal.close()
    again = place.open()
    await again.recover(0)
    await again.finish(execution, Ending(DONE), attempts=1, reports=[finished])
    assert (await again.backlog()).parked == 2
    await again.close()


async def test_a_report_is_parked_and_told_once_even_if_the_journal_cannot_be_read_then(
    journal: AnyJournal, clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = await accepted(journal)
    started, _ = reports_of(execution, clock)
    unsent = await journal.begin(execution, started)
    assert unsent
    with monkeypatch.context() as patch:
        patch.setattr(statements, "IS_FINISHED", "SELECT 1 FROM nowhere WHERE 1 = ?")
        told = REPLIES.error_log(None, clock.utc(), "refused")
        assert await insist(lambda: journal.park(unsent, "401", told), clock.sleep)
    backlog = await journal.backlog()
    assert (backlog.parked, backlog.unsent) == (1, 1)
