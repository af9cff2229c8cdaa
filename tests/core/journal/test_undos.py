"""Undos of finished executions, on real SQLite files."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from keptn_remedy import Outcome, Plan
from keptn_remedy.journal import Arm, Ending, Execution, Undo, UndoAtOnce
from keptn_remedy.journal import statements as sql
from tests.core.journals import (
    DONE,
    FAILED,
    PLAN,
    SetClock,
    accepted,
    admitted,
    allow,
    due_reports,
    nothing_for,
    reports_of,
)
from tests.core.places import AnyJournal, Place, in_sqlite

CLOSED = Arm(on_closed=True)


async def applied(
    journal: AnyJournal, event_id: str = "1", *, plan: Plan | None = PLAN, context: str = "c"
) -> Execution:
    execution = await accepted(journal, event_id, event_id, context)
    assert await journal.admit(execution, plan, [], allow) is None
    return execution


async def finished(
    journal: AnyJournal, event_id: str = "1", *, arm: Arm | None = None, context: str = "c"
) -> Execution:
    execution = await applied(journal, event_id, context=context)
    await journal.finish(execution, Ending(DONE, arm=arm), attempts=1)
    return execution


async def due(journal: AnyJournal, clock: SetClock) -> list[str]:
    return [undo.execution.id for undo in await journal.due_undos(clock.time, 9)]


async def state(journal: AnyJournal, execution_id: str = "1") -> str | None:
    undo = await journal.undo_of(execution_id)
    return undo.state if undo else None


async def test_an_undo_that_somebody_wants_is_due_with_its_execution(
    journal: AnyJournal, clock: SetClock
) -> None:
    execution = await finished(journal)
    assert await journal.undo_of("1") is None
    assert await journal.want_undo("1", "an order", "ada", "too much") is None
    (undo,) = await journal.due_undos(clock.time, 9)
    assert (undo.execution.trigger, undo.execution.plan) == (execution.trigger, PLAN)
    assert (undo.state, undo.cause, undo.by, undo.reason) == (
        "wanted",
        "an order",
        "ada",
        "too much",
    )
    record = await journal.record("1")
    assert record
    assert record.undo == await journal.undo_of("1")


async def test_an_undo_is_carried_out_once(journal: AnyJournal, clock: SetClock) -> None:
    await finished(journal)
    await journal.want_undo("1", "an order", "ada")
    assert await journal.begin_undo("1")
    assert await due(journal, clock) == []
    assert await journal.want_undo("1", "an order", "bob") == "it is being undone"
    clock.time += 5
    await journal.end_undo("1", "done", "undone")
    await journal.end_undo("1", "failed", "too late")
    assert await journal.undo_of("1") == Undo(
        "done",
        cause="an order",
        by="ada",
        asked_at=SetClock().utc(),
        ended_at=clock.utc(),
        message="undone",
    )
    assert await journal.want_undo("1", "an order", "bob") == "it is undone already"
    assert not await journal.begin_undo("1")


@pytest.mark.parametrize("ended", ["refused", "failed"])
async def test_an_undo_that_did_not_come_about_may_be_wanted_again(
    journal: AnyJournal, clock: SetClock, ended: str
) -> None:
    await finished(journal)
    await journal.want_undo("1", "an order", "ada")
    await journal.begin_undo("1")
    await journal.end_undo("1", ended, "changed since")  # type: ignore[arg-type]  # both literals
    assert await journal.want_undo("1", "an order", "bob") is None
    undo = await journal.undo_of("1")
    assert undo
    assert (undo.state, undo.by, undo.ended_at, undo.message) == ("wanted", "bob", None, None)
    assert await due(journal, clock) == ["1"]


async def test_wanting_twice_is_wanting_once(journal: AnyJournal, clock: SetClock) -> None:
    await finished(journal)
    assert await journal.want_undo("1", "an order", "ada") is None
    assert await journal.want_undo("1", "an order", "ada") is None
    assert await due(journal, clock) == ["1"]


async def test_what_changed_nothing_or_has_not_ended_cannot_be_undone(
    journal: AnyJournal,
) -> None:
    async def why_not(execution_id: str) -> str | None:
        return await journal.want_undo(execution_id, "an order", "ada")

    assert await why_not("1") == "there is no such execution"
    await applied(journal, "running")
    assert await why_not("running") == "the execution has not finished"
    execution = await applied(journal, "nothing", plan=Plan(()))
    await journal.finish(execution, Ending(DONE, arm=CLOSED), attempts=1)
    assert await why_not("nothing") == "it changed nothing"
    assert [await state(journal, name) for name in ("running", "nothing")] == [None] * 2


async def test_what_ran_without_a_plan_is_not_said_to_have_changed_nothing(
    journal: AnyJournal,
) -> None:
    execution = await applied(journal, plan=None)
    await journal.finish(execution, Ending(DONE, arm=CLOSED), attempts=1)
    refusal = await journal.want_undo("1", "an order", "ada")
    why = "it was refused, failed before it acted, or its action makes no plan"
    assert refusal == f"{why}: nothing can be put back"
    assert await state(journal) is None


async def test_an_armed_undo_is_wanted_when_its_problem_closes(
    journal: AnyJournal, clock: SetClock
) -> None:
    await finished(journal, "1", arm=CLOSED)
    await finished(journal, "2", arm=CLOSED, context="another")
    await finished(journal, "3", arm=Arm(due_at=clock.time + 60))
    assert [await state(journal, n) for n in "123"] == ["armed"] * 3
    assert await due(journal, clock) == []
    assert await journal.problem_closed("c") == 1
    assert await journal.problem_closed("c") == 0
    (undo,) = await journal.due_undos(clock.time, 9)
    assert (undo.execution.id, undo.cause, undo.by) == ("1", "problem closed", None)


async def test_a_problem_that_closes_while_it_is_remedied_is_not_forgotten(
    place: Place, clock: SetClock
) -> None:
    first = place.open()
    armed, unarmed = await applied(first, "1"), await applied(first, "2")
    assert await first.problem_closed("c") == 2
    assert await first.problem_closed("c") == 0
    await first.close()
    second = place.open()
    await second.finish(armed, Ending(DONE, arm=CLOSED), attempts=1)
    await second.finish(unarmed, Ending(DONE, arm=Arm(due_at=clock.time + 60)), attempts=1)
    assert [await state(second, n) for n in "12"] == ["wanted", "armed"]
    (undo,) = await second.due_undos(clock.time, 9)
    assert (undo.cause, undo.asked_at) == ("problem closed", clock.utc())
    await second.close()


async def test_an_armed_undo_is_due_when_its_time_is_up(
    journal: AnyJournal, clock: SetClock
) -> None:
    await finished(journal, arm=Arm(on_closed=True, due_at=clock.time + 60))
    assert await due(journal, clock) == []
    clock.time += 60
    (undo,) = await journal.due_undos(clock.time, 9)
    assert undo.cause == "time is up"
    assert await journal.begin_undo("1")
    stored = await journal.undo_of("1")
    assert stored
    assert (stored.state, stored.cause, stored.asked_at) == ("running", "time is up", clock.utc())


async def test_finishing_twice_arms_once_and_never_late(
    journal: AnyJournal, clock: SetClock
) -> None:
    first = await finished(journal, "1", arm=CLOSED)
    clock.time += 1
    await journal.finish(first, Ending(DONE, arm=Arm(due_at=1.0)), attempts=1)
    assert await state(journal) == "armed"
    assert await due(journal, clock) == []
    second = await finished(journal, "2")
    clock.time += 1
    await journal.finish(second, Ending(DONE, arm=CLOSED), attempts=1)
    assert await state(journal, "2") is None


async def test_arming_leaves_the_numbers_of_reports_alone(
    journal: AnyJournal, clock: SetClock
) -> None:
    execution = await applied(journal)
    told = await journal.finish(
        execution, Ending(DONE, arm=CLOSED), attempts=1, reports=[reports_of(execution, clock)[1]]
    )
    assert await due_reports(journal) == told


async def test_an_undo_that_a_process_left_behind_is_known_until_it_ends(place: Place) -> None:
    """However many processes die before it has begun anew."""
    journal = place.open()
    for name in ("begun", "wanted", "undone"):
        await finished(journal, name)
        await journal.want_undo(name, "an order", "ada")
    for name in ("begun", "undone"):
        await journal.begin_undo(name)
    await journal.end_undo("undone", "done", "undone")
    for _ in range(2):
        await journal.close()
        journal = place.open()
        await journal.recover(0)
        (undo,) = await journal.undos_begun()
        assert (undo.execution.id, undo.state) == ("begun", "running")
    assert await journal.begin_undo("begun")
    await journal.end_undo("begun", "done", "undone")
    assert await journal.undos_begun() == []
    await journal.close()


async def test_an_undo_that_has_begun_can_be_put_off(journal: AnyJournal, clock: SetClock) -> None:
    await finished(journal, arm=CLOSED)
    await journal.problem_closed("c")
    await journal.begin_undo("1")
    await journal.put_off_undo("1")
    assert await journal.undos_begun() == []
    assert await due(journal, clock) == ["1"]
    await journal.end_undo("1", "done", "undone")
    await journal.put_off_undo("1")
    assert await state(journal) == "done"


async def test_what_people_ordered_is_undone_first(journal: AnyJournal, clock: SetClock) -> None:
    for name in ("closed", "ordered"):
        await finished(journal, name, arm=CLOSED)
    await journal.problem_closed("c")
    clock.time += 1
    await journal.want_undo("ordered", "an order", "ada")
    assert await due(journal, clock) == ["ordered", "closed"]
    (first,) = await journal.due_undos(clock.time, 1)
    assert first.execution.id == "ordered"


async def test_what_is_yet_to_be_undone_is_not_pruned(
    journal: AnyJournal, place: Place, clock: SetClock
) -> None:
    """But a problem may never be closed."""
    await finished(journal, "armed", arm=Arm(on_closed=True, due_at=clock.time + 60))
    await finished(journal, "never closed", arm=CLOSED, context="open problem")
    await finished(journal, "wanted")
    await journal.want_undo("wanted", "an order", "ada")
    await finished(journal, "undone")
    await journal.want_undo("undone", "an order", "ada")
    await journal.end_undo("undone", "done", "undone")
    await finished(journal, "never")
    await accepted(journal, "newest")
    clock.time += 10
    assert await journal.prune(clock.time, 100) == 3
    assert {r.id for r in await journal.records()} == {"armed", "wanted", "newest"}
    assert place.look("SELECT count(*) FROM undos") == [(2,)]


async def test_one_undo_that_cannot_be_read_stops_no_other(
    journal: AnyJournal, place: Place, clock: SetClock
) -> None:
    for name in "12":
        await finished(journal, name)
        await journal.want_undo(name, "an order", "ada")
    place.change("UPDATE executions SET event = 'broken' WHERE id = '1'")
    assert await due(journal, clock) == ["2"]


async def test_a_plan_that_cannot_be_read_is_neither_armed_nor_undone(
    journal: AnyJournal, place: Place
) -> None:
    execution = await applied(journal)
    place.change("UPDATE executions SET plan = 'no JSON'")
    await journal.finish(execution, Ending(DONE, arm=CLOSED), attempts=1)
    assert await state(journal) is None
    assert await journal.want_undo("1", "an order", "ada") == "it changed nothing"


@in_sqlite
async def test_looking_for_undos_walks_through_those_that_are_due(place: Place, path: Path) -> None:
    await place.open().close()
    with closing(sqlite3.connect(path)) as connection:
        steps = [
            row[3]
            for look in (sql.DUE_UNDOS, sql.CLOSE_ARMED)
            for row in connection.execute(f"EXPLAIN QUERY PLAN {look}", nothing_for(look))
        ]
    assert not any(step.startswith("SCAN executions") for step in steps), steps
    assert any("undos_open (state=? AND due_at<?)" in step for step in steps), steps
    assert any("undos_armed (context=?)" in step for step in steps), steps


async def test_what_failed_may_be_undone_once_more(journal: AnyJournal, clock: SetClock) -> None:
    """Its own undo may have been held back, or have failed."""
    execution = await applied(journal)
    await journal.keep_failure(execution, Outcome.failed("no better"))
    await journal.finish(
        execution,
        Ending(Outcome.failed("no better; UNDO FAILED"), is_failure=True, arm=CLOSED),
        attempts=1,
    )
    assert await journal.undo_of("1") is None
    assert await journal.want_undo("1", "an order", "ada") is None
    assert await due(journal, clock) == ["1"]


async def test_what_was_undone_after_its_own_verification_is_not_undone_again(
    journal: AnyJournal, clock: SetClock
) -> None:
    execution = await applied(journal)
    await journal.keep_failure(execution, FAILED)
    report, undone = reports_of(execution, clock)[1], UndoAtOnce("done", "undone")
    told = await journal.finish(
        execution, Ending(FAILED, is_failure=True, undo=undone), attempts=1, reports=[report]
    )
    assert await due_reports(journal) == told
    now = clock.utc()
    assert await journal.undo_of("1") == Undo(
        "done", cause="failed verification", asked_at=now, ended_at=now, message="undone"
    )
    assert await journal.want_undo("1", "an order", "ada") == "it is undone already"


async def test_what_ended_otherwise_before_is_not_undone_by_a_second_ending(
    journal: AnyJournal, clock: SetClock
) -> None:
    execution = await finished(journal)
    clock.time += 1
    await journal.finish(
        execution, Ending(FAILED, is_failure=True, undo=UndoAtOnce("done", "undone")), attempts=1
    )
    assert await journal.undo_of("1") is None


@pytest.mark.parametrize("ended", ["helped", "failed", "aborted"])
async def test_what_came_later_is_undone_first_however_it_ended(
    journal: AnyJournal, clock: SetClock, ended: str
) -> None:
    older = await admitted(journal, "older", "flag", context="c")
    await journal.finish(older, Ending(DONE, arm=CLOSED), attempts=1)
    clock.time += 1
    newer = await admitted(journal, "newer", "flag", context="c")
    ending = Ending(DONE, ended == "failed", arm=CLOSED, is_aborted=ended == "aborted")
    await journal.finish(newer, ending, attempts=1)
    assert await journal.problem_closed("c") == 2
    assert await due(journal, clock) == ["newer"]
    assert not await journal.begin_undo("older")
    await journal.end_undo("newer", "done", "off again")
    assert await due(journal, clock) == ["older"]


async def test_what_has_begun_begins_anew_whatever_came_later(
    journal: AnyJournal, clock: SetClock
) -> None:
    for name in ("older", "newer"):
        execution = await admitted(journal, name, "flag", context=name)
        await journal.finish(execution, Ending(DONE, arm=CLOSED), attempts=1)
        clock.time += 1
    await journal.problem_closed("older")
    await journal.end_undo("newer", "refused", "changed since")
    assert await journal.begin_undo("older")
    await journal.want_undo("newer", "an order", "ada")
    assert await journal.begin_undo("older")


async def test_what_nobody_ordered_is_due_after_later_ones_of_its_target(
    journal: AnyJournal, clock: SetClock
) -> None:
    for name, targets in (("oldest", "ab"), ("apart", "c"), ("newest", "b")):
        execution = await admitted(journal, name, *targets, context=name)
        await journal.finish(execution, Ending(DONE, arm=CLOSED), attempts=1)
        clock.time += 1
    for context in ("oldest", "apart"):
        await journal.problem_closed(context)
    assert await due(journal, clock) == ["apart"]
    assert not await journal.begin_undo("oldest")
    await journal.problem_closed("newest")
    assert await due(journal, clock) == ["newest", "apart"]
    await journal.begin_undo("newest")
    assert await due(journal, clock) == ["apart"]
    await journal.end_undo("newest", "refused", "changed since")
    assert await due(journal, clock) == ["apart", "oldest"]
    await journal.want_undo("newest", "an order", "ada")
    await journal.want_undo("oldest", "an order", "ada")
    assert set(await due(journal, clock)) == {"oldest", "newest", "apart"}
