"""What executions ask of people, what was given up, and what was lost, on real SQLite files."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from keptn_remedy import Outcome
from keptn_remedy.journal import (
    Ending,
    Execution,
    JournalError,
    JournalUnusable,
    OpenTask,
    Question,
    WholeRecord,
)
from keptn_remedy.journal import statements as sql
from keptn_remedy.journal.schema import MIGRATIONS, VERSION_1
from tests.core.journals import (
    DONE,
    PLAN,
    SetClock,
    accepted,
    allow,
    due_reports,
    effect,
    reports_of,
    trigger,
)
from tests.core.places import AnyJournal, Place, in_sqlite

QUESTION = Question(PLAN, "production", 1_000_000.0, 1_000_900.0)
LATE = "nobody answered in time, so it was denied"


async def waiting(journal: AnyJournal) -> list[Execution]:
    return await journal.next_in_lanes()


async def whole(journal: AnyJournal, execution_id: str) -> WholeRecord:
    record = await journal.record(execution_id)
    assert record
    return record


async def test_a_question_waits_over_a_restart(place: Place, clock: SetClock) -> None:
    first = place.open()
    await first.ask(await accepted(first), QUESTION)
    await first.close()
    second = place.open()
    (execution,) = await waiting(second)
    assert execution.question == QUESTION
    assert await second.questions(9) == [execution]
    assert (await whole(second, "1")).question == QUESTION
    await second.close()


async def test_a_question_without_a_plan_is_kept_as_well(journal: AnyJournal) -> None:
    question = replace(QUESTION, plan=None, default="approve")
    await journal.ask(await accepted(journal), question)
    assert [e.question for e in await waiting(journal)] == [question]


async def test_starts_that_only_wait_for_an_answer_count_as_no_runs(
    journal: AnyJournal, clock: SetClock
) -> None:
    execution = await accepted(journal)
    started, _ = reports_of(execution, clock)
    await journal.begin(execution, started)
    await journal.ask(execution, QUESTION)
    await journal.begin(execution, started)
    assert [e.runs for e in await waiting(journal)] == [0]
    await journal.answer("1", "approved", "ada", None)
    assert await journal.admit(execution, PLAN, [effect(execution)], allow) is None
    assert [e.runs for e in await waiting(journal)] == [1]
    await journal.begin(execution, started)
    assert [e.runs for e in await waiting(journal)] == [2]


async def test_a_start_after_the_answer_counts_as_a_run(
    journal: AnyJournal, clock: SetClock
) -> None:
    """Planning once more may be what kills the process."""
    execution = await accepted(journal)
    started, _ = reports_of(execution, clock)
    await journal.ask(execution, QUESTION)
    await journal.answer("1", "approved", "ada", None)
    await journal.begin(execution, started)
    assert [e.runs for e in await waiting(journal)] == [1]


async def test_what_a_process_leaves_in_an_orderly_way_counts_as_no_run(
    journal: AnyJournal, clock: SetClock
) -> None:
    """But for the first one: the next process must know that it was begun."""
    execution = await accepted(journal)
    started, _ = reports_of(execution, clock)
    for runs in (1, 2):
        await journal.begin(execution, started)
        assert [e.runs for e in await waiting(journal)] == [runs]
    for _ in range(2):
        await journal.note_left([execution.handle, execution.handle + 1])
        assert [e.runs for e in await waiting(journal)] == [1]
    await journal.begin(execution, started)
    await journal.note_left([])
    assert [e.runs for e in await waiting(journal)] == [2]


async def test_who_approved_stays_known_and_who_was_not_asked_does_not(
    journal: AnyJournal,
) -> None:
    execution = await accepted(journal)
    await journal.ask(execution, QUESTION)
    await journal.answer("1", "approved", "ada", "calm night")
    await journal.admit(execution, PLAN, [effect(execution)], allow)
    question = (await whole(journal, "1")).question
    assert question
    assert (question.by, question.reason) == ("ada", "calm night")
    silent = await accepted(journal, "2")
    await journal.ask(silent, QUESTION)
    await journal.admit(silent, PLAN, [effect(silent)], allow)
    assert (await whole(journal, "2")).question is None


async def test_a_question_is_answered_once(journal: AnyJournal) -> None:
    await journal.ask(await accepted(journal), QUESTION)
    assert await journal.answered() == []
    assert await journal.answer("1", "denied", "ada", "not today") is None
    assert await journal.answer("1", "approved", "bob", None) == "it was denied by ada already"
    question = (await whole(journal, "1")).question
    assert question == replace(QUESTION, verdict="denied", by="ada", reason="not today")
    assert await journal.answered() == ["1"]
    assert await journal.questions(9) == []


async def test_asking_again_opens_the_question_again(journal: AnyJournal) -> None:
    execution = await accepted(journal)
    await journal.ask(execution, QUESTION)
    await journal.answer("1", "approved", "ada", None)
    await journal.ask(execution, QUESTION)
    assert await journal.answered() == []
    assert await journal.answer("1", "denied", "ada", None) is None


async def test_what_asks_nothing_cannot_be_answered(journal: AnyJournal) -> None:
    assert await journal.answer("1", "denied", "ada", None) == "there is no such execution"
    execution = await accepted(journal)
    assert await journal.answer("1", "denied", "ada", None) == "the execution asks nothing"
    await journal.ask(execution, QUESTION)
    await journal.finish(
        execution, Ending(Outcome.failed("nobody approved"), is_failure=True), attempts=0
    )
    assert await journal.answer("1", "denied", "ada", None) == "the execution has finished"
    assert (await journal.questions(9), await journal.answered()) == ([], [])
    assert (await whole(journal, "1")).question == QUESTION


async def test_a_finished_execution_tells_who_answered_it_or_that_nobody_did(
    journal: AnyJournal,
) -> None:
    answered, silent = await accepted(journal), await accepted(journal, "2")
    for execution in (answered, silent):
        await journal.ask(execution, QUESTION)
    await journal.answer("1", "approved", "ada", None)
    await journal.close_question(silent)
    for execution in (answered, silent):
        await journal.finish(execution, Ending(DONE), attempts=1)
    assert await journal.answer("1", "denied", "bob", None) == "it was approved by ada already"
    assert await journal.answer("2", "denied", "bob", None) == LATE


async def test_a_finished_execution_asks_nothing(journal: AnyJournal) -> None:
    execution = await accepted(journal)
    await journal.finish(execution, Ending(DONE), attempts=1)
    await journal.ask(execution, QUESTION)
    assert (await whole(journal, "1")).question is None


async def test_a_question_that_cannot_be_read_makes_its_execution_unreadable(
    journal: AnyJournal, place: Place
) -> None:
    await journal.ask(await accepted(journal), QUESTION)
    await journal.note_abort("1", "gone")
    await journal.ask(await accepted(journal, "2", "orders"), QUESTION)
    await journal.answer("2", "approved", "ada", None)
    for broken in ('{"plan": 1}', "no JSON"):
        place.change("UPDATE executions SET question = ? WHERE id = '1'", (broken,))
        assert [e.unreadable is None for e in await waiting(journal)] == [False, True]
        assert (await whole(journal, "1")).question is None
        assert await journal.answered() == ["2"]
        assert await journal.answer("1", "denied", "ada", None) == "the execution asks nothing"
    assert (await waiting(journal))[0].aborted == "gone"


@in_sqlite
async def test_looking_for_answers_walks_through_what_asks_alone(place: Place, path: Path) -> None:
    await place.open().close()
    with closing(sqlite3.connect(path)) as connection:
        for look in (sql.ANSWERED, sql.QUESTIONS):
            bound = (9,) * look.count("?")
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {look}", bound)]
            assert plan == ["SCAN executions USING INDEX executions_asking"]
        bound = (9,) * sql.CLOSE_OPEN.count("?")
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {sql.CLOSE_OPEN}", bound)]
        assert plan == ["SCAN executions USING INDEX executions_open"]


async def test_an_order_beside_the_service_is_seen_by_it(journal: AnyJournal, place: Place) -> None:
    await journal.ask(await accepted(journal), replace(QUESTION, expires_at=2.0**40))
    cli = place.beside()
    assert await cli.answer("1", "approved", "ada@host", None) is None
    pause = await cli.pause("ada@host", "maintenance")
    await cli.close()
    assert await journal.answered() == ["1"]
    assert await journal.paused() == pause
    await journal.remember("a", "b", 1)  # still writes itself


async def test_an_order_can_be_given_while_no_service_runs(place: Place) -> None:
    await place.open().close()
    cli = place.beside()
    pause = await cli.pause("ada@host", "maintenance")
    await cli.close()
    service = place.open()
    assert await service.paused() == pause
    await service.close()


@in_sqlite
@pytest.mark.parametrize("version", [len(MIGRATIONS) - 1, len(MIGRATIONS) + 1])
def test_a_journal_of_another_version_takes_no_orders(
    place: Place, path: Path, version: int
) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(f"{VERSION_1} PRAGMA user_version = {version};")
    before = path.read_bytes()
    with pytest.raises(JournalUnusable, match=f"has version {version}.*same release"):
        place.beside()
    assert path.read_bytes() == before


@in_sqlite
def test_a_journal_that_is_not_there_takes_no_orders(place: Place, path: Path) -> None:
    with pytest.raises(JournalUnusable, match="no journal"):
        place.beside()
    assert not path.exists()


async def test_what_is_given_up_is_noted_while_it_is_open(journal: AnyJournal) -> None:
    execution = await accepted(journal)
    assert await journal.note_abort("1", "the sequence was aborted")
    assert not await journal.note_abort("1", "a second reason")
    assert [e.aborted for e in await waiting(journal)] == ["the sequence was aborted"]
    assert await journal.unannounced(2**40, 10) == []
    await journal.finish(execution, Ending(Outcome.errored("aborted"), is_aborted=True), attempts=1)
    assert not await journal.note_abort("1", "too late")
    assert not await journal.note_abort("2", "unknown")
    assert (await whole(journal, "1")).aborted == "the sequence was aborted"


async def test_an_aborted_execution_is_finished_once(journal: AnyJournal, clock: SetClock) -> None:
    execution = await accepted(journal)
    await journal.ask(execution, QUESTION)
    _, finished = reports_of(execution, clock)
    aborted = Ending(Outcome.errored("aborted; undone"), is_aborted=True)
    (told,) = await journal.finish(execution, aborted, attempts=2, reports=[finished])
    assert await due_reports(journal) == [told]
    again = Ending(Outcome.errored("again"), is_aborted=True)
    assert await journal.finish(execution, again, attempts=3, reports=[finished]) == []
    assert await journal.finish(execution, Ending(DONE), attempts=3, reports=[finished]) == []
    record = await whole(journal, "1")
    assert (record.state, record.status, record.result) == ("finished", "aborted", "fail")
    assert (record.message, record.attempts, record.details) == ("aborted; undone", 2, {})
    assert record.question is None


async def test_aborting_what_has_finished_leaves_it_as_it_is(journal: AnyJournal) -> None:
    execution = await accepted(journal)
    await journal.ask(execution, QUESTION)
    await journal.finish(execution, Ending(Outcome.failed("denied"), is_failure=True), attempts=0)
    late = Ending(Outcome.errored("too late"), is_aborted=True)
    assert await journal.finish(execution, late, attempts=1) == []
    record = await whole(journal, "1")
    assert (record.status, record.message, record.question) == ("succeeded", "denied", QUESTION)


async def test_open_tasks_are_those_accepted_before_a_time(
    journal: AnyJournal, clock: SetClock
) -> None:
    first = await accepted(journal, "1", context="c")
    finished = await accepted(journal, "2", "orders")
    await journal.finish(finished, Ending(DONE), attempts=1)
    clock.time += 10
    await accepted(journal, "3", "young")
    await journal.note_listed(["1", "2", "unknown"])
    await journal.note_abort("1", "gone")
    trigger = first.trigger
    expected = OpenTask("1", trigger.project, trigger.stage, "c", "accepted", True, "gone", "wait")
    assert await journal.open_tasks(clock.time) == [expected]
    assert [(t.id, t.listed) for t in await journal.open_tasks(clock.time + 1)] == [
        ("1", True),
        ("3", False),
    ]


async def test_what_is_known_is_told_among_many_ids(journal: AnyJournal) -> None:
    finished = await accepted(journal, "1", "carts")
    await journal.finish(finished, Ending(DONE), attempts=1)
    await accepted(journal, "2", "orders")
    assert await journal.known(["0", "1", "2", "3"]) == {"1", "2"}
    assert await journal.known([]) == set()


async def test_a_trigger_is_found_by_its_id(journal: AnyJournal, place: Place) -> None:
    execution = await accepted(journal)
    assert await journal.trigger("1") == execution.trigger
    assert await journal.trigger("2") is None
    place.change("UPDATE executions SET event = 'broken'")
    assert await journal.trigger("1") is None


async def test_a_lost_execution_is_finished_and_told_once(
    journal: AnyJournal, clock: SetClock
) -> None:
    lost = Outcome.errored("lost by a restart")
    event = trigger("1")
    _, finished = reports_of(Execution(0, event, "wait"), clock)
    (told,) = await journal.finish_lost(event, "wait", lost, finished)
    assert await due_reports(journal) == [told]
    assert await journal.finish_lost(event, "wait", lost, finished) == []
    assert await journal.accept(event, "wait") is None
    record = await whole(journal, "1")
    assert (record.state, record.status, record.message) == ("finished", "errored", lost.message)
    assert (await journal.backlog()).executions == 0
    await journal.forget([told])
    assert (await whole(journal, "1")).reported_at == clock.utc()


async def test_what_is_open_is_not_lost(journal: AnyJournal, clock: SetClock) -> None:
    execution = await accepted(journal)
    _, finished = reports_of(execution, clock)
    assert await journal.finish_lost(execution.trigger, "wait", DONE, finished) == []
    assert [e.id for e in await waiting(journal)] == ["1"]
    assert await due_reports(journal) == []


async def test_orders_to_a_journal_that_cannot_be_written_are_refused(place: Place) -> None:
    await place.open().close()
    reader = place.read_only()
    for order in (
        lambda: reader.answer("1", "denied", "ada", None),
        lambda: reader.want_undo("1", "an order"),
        lambda: reader.pause("ada", "why"),
        reader.resume,
        lambda: reader.forgive(None, "ada"),
    ):
        with pytest.raises(JournalError):
            await order()
    await reader.close()


async def test_an_answer_that_comes_too_late_is_none(journal: AnyJournal, clock: SetClock) -> None:
    await journal.ask(await accepted(journal), QUESTION)
    clock.time = QUESTION.expires_at
    assert await journal.answer("1", "approved", "ada", None) == LATE
    assert await journal.answered() == []


@in_sqlite
async def test_an_answer_that_waits_until_the_time_is_over_comes_too_late(
    journal: AnyJournal, clock: SetClock, path: Path
) -> None:
    await journal.ask(await accepted(journal), QUESTION)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = asyncio.create_task(journal.answer("1", "denied", "ada", None))
        await asyncio.sleep(0)
        clock.time = QUESTION.expires_at
        other.execute("COMMIT")
    assert await answer == LATE
    assert (await whole(journal, "1")).question == QUESTION


@pytest.mark.parametrize(("default", "verdict"), [("deny", "denied"), ("approve", "approved")])
async def test_a_closed_question_has_its_default_as_the_verdict_by_nobody(
    journal: AnyJournal, default: Any, verdict: Any
) -> None:
    execution = await accepted(journal)
    await journal.ask(execution, replace(QUESTION, default=default))
    closed = replace(QUESTION, default=default, verdict=verdict)
    assert await journal.close_question(execution) == closed
    late = f"nobody answered in time, so it was {verdict}"
    assert await journal.answer("1", "denied", "ada", None) == late
    assert await journal.close_question(execution) == closed
    assert (await whole(journal, "1")).question == closed
    assert await journal.questions(9) == []


async def test_who_answered_before_a_question_is_closed_is_heeded(journal: AnyJournal) -> None:
    execution = await accepted(journal)
    await journal.ask(execution, replace(QUESTION, default="approve"))
    await journal.answer("1", "denied", "ada", "not today")
    closed = await journal.close_question(execution)
    assert closed
    assert (closed.verdict, closed.by, closed.reason) == ("denied", "ada", "not today")


async def test_what_asks_nothing_is_not_closed(journal: AnyJournal, place: Place) -> None:
    execution = await accepted(journal)
    assert await journal.close_question(execution) is None
    await journal.ask(execution, QUESTION)
    place.change("UPDATE executions SET question = 'no JSON'")
    assert await journal.close_question(execution) is None


async def test_what_has_finished_is_not_changed_by_closing_its_question(
    journal: AnyJournal,
) -> None:
    execution = await accepted(journal)
    await journal.ask(execution, QUESTION)
    await journal.finish(
        execution, Ending(Outcome.errored("it ignores its deadline"), is_failure=True), attempts=0
    )
    await journal.close_question(execution)
    assert (await whole(journal, "1")).question == QUESTION


async def test_a_start_after_a_question_was_closed_counts_as_a_run(
    journal: AnyJournal, clock: SetClock
) -> None:
    execution = await accepted(journal)
    started, _ = reports_of(execution, clock)
    await journal.ask(execution, QUESTION)
    await journal.close_question(execution)
    await journal.begin(execution, started)
    assert [e.runs for e in await waiting(journal)] == [1]


async def test_an_answer_to_the_question_before_is_none(journal: AnyJournal) -> None:
    execution = await accepted(journal)
    await journal.ask(execution, QUESTION)
    await journal.ask(execution, replace(QUESTION, asked_at=QUESTION.asked_at + 1))
    told = await journal.answer("1", "approved", "ada", None, asked_at=QUESTION.asked_at)
    assert told == "it asks something else by now"
    again = QUESTION.asked_at + 1
    assert await journal.answer("1", "approved", "ada", None, asked_at=again) is None


async def test_nothing_is_approved_during_a_pause_but_may_be_denied(journal: AnyJournal) -> None:
    """It would be refused, and would have to be asked for in Keptn anew."""
    await journal.ask(await accepted(journal), QUESTION)
    await journal.pause("ada", "fire drill")
    told = await journal.answer("1", "approved", "bob", None)
    assert told == "nothing may act during a pause; resume first"
    assert await journal.answer("1", "denied", "bob", None) is None
