"""Orders by the command line: what is stored, what is told, and when the command returns."""

import asyncio
import getpass
import json
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keptn_remedy import Change, Outcome, Plan
from keptn_remedy.cli import looking, operating
from keptn_remedy.journal import Arm, Ending, Execution, Question, UndoAtOnce
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.commands import REMEDY, SECONDS, Said, clean
from tests.ordering import JOURNAL, PLAN, TARGET, asking, begun, ended, say
from tests.waiting import until

Prepare = Callable[[SqliteJournal], Awaitable[Execution]]


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[SqliteJournal]:
    """As a running service has it."""
    opened = SqliteJournal.open(tmp_path / JOURNAL)
    yield opened
    await opened.close()


@asynccontextmanager
async def left_by_a_service(folder: Path) -> AsyncIterator[SqliteJournal]:
    """To be prepared or looked at while no service runs."""
    opened = SqliteJournal.open(folder / JOURNAL)
    try:
        yield opened
    finally:
        await opened.close()


async def prepared(folder: Path, prepare: Prepare) -> str:
    async with left_by_a_service(folder) as journal:
        return (await prepare(journal)).id


async def show(folder: Path, execution_id: str) -> str:
    return (await say(folder, "journal", "show", execution_id)).out


async def answered(journal: SqliteJournal) -> None:
    async def is_answered() -> bool:
        return bool(await journal.answered())

    await until(is_answered)


async def wanted(journal: SqliteJournal, execution: Execution) -> None:
    async def is_wanted() -> bool:
        return bool(await journal.due_undos(time.time(), 1))

    await until(is_wanted)
    await journal.begin_undo(execution.id)


async def while_saying(
    said: Awaitable[Said], play: Callable[[], Awaitable[object]]
) -> tuple[Said, object]:
    """A command, and what the service does meanwhile."""
    return await asyncio.gather(said, play())


# Pause and resume


async def test_a_pause_is_stored_with_who_and_why(tmp_path: Path, journal: SqliteJournal) -> None:
    said = await say(tmp_path, "pause", "--reason", "release\nfreeze")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "paused: executions are refused, and told why, until remedy resume",
        "what is being carried out now goes on to its end",
    ]
    paused = await journal.paused()
    assert paused
    assert paused.reason == "release freeze"
    assert re.fullmatch(r"\S+@\S+", paused.by)


async def test_a_pause_without_a_service_is_told_to_hold_for_the_next_one(tmp_path: Path) -> None:
    await prepared(tmp_path, begun)
    said = await say(tmp_path, "pause", "--reason", "x")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines()[1] == (
        "no service runs from journal.db: the next one starts paused"
    )


async def test_a_user_without_a_name_pauses_by_number(
    tmp_path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nameless() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr(getpass, "getuser", nameless)
    await say(tmp_path, "pause", "--reason", "x")
    paused = await journal.paused()
    assert paused
    assert paused.by.startswith(f"uid {os.getuid()}@")


async def test_a_pause_as_json_tells_since_when(tmp_path: Path, journal: SqliteJournal) -> None:
    told = json.loads((await say(tmp_path, "pause", "--reason", "x", "--json")).out)
    assert (told["paused"], told["reason"]) == (True, "x")
    assert told["since"]
    assert json.loads((await say(tmp_path, "resume", "--json")).out)["paused"] is False


@pytest.mark.parametrize("reason", [[], ["--reason", " \n"], ["--reason", "x" * 1001]], ids=len)
async def test_a_pause_needs_a_reason_of_bearable_length(
    tmp_path: Path, journal: SqliteJournal, reason: list[str]
) -> None:
    said = await say(tmp_path, "pause", *reason)
    assert (said.code, said.out) == (2, "")
    assert "--reason" in said.err
    assert await journal.paused() is None


async def test_a_pause_that_replaces_another_tells_which(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    await journal.pause("ann@shop", "release freeze")
    said = await say(tmp_path, "pause", "--reason", "fire drill")
    assert said.code == 0
    pattern = r'it was paused already by ann@shop since 2\S+Z: "release freeze"; that is replaced'
    assert re.fullmatch(pattern, said.out.splitlines()[1])
    paused = await journal.paused()
    assert paused
    assert paused.reason == "fire drill"


async def test_a_pause_is_ended_once(tmp_path: Path, journal: SqliteJournal) -> None:
    await journal.pause("ann@shop", "release freeze")
    first, second = await say(tmp_path, "resume"), await say(tmp_path, "resume")
    assert (first.code, second.code) == (0, 0)
    pattern = r"resumed; it was paused since 2\S+Z by ann@shop: release freeze\n.*refused\n"
    assert re.fullmatch(pattern, first.out)
    assert second.out == "it was not paused\n"
    assert await journal.paused() is None


async def test_what_a_file_pauses_is_told_to_stay_paused(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    (tmp_path / "pause").write_text("cluster upgrade")
    said = await say(tmp_path, "resume", REMEDY_PAUSE_FILE="pause")
    told = "still paused by file pause: cluster upgrade; remove that file to resume"
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == [f"remedy: {told}"]
    await journal.pause("ann@shop", "release freeze")
    said = await say(tmp_path, "resume", REMEDY_PAUSE_FILE="pause")
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == [f"remedy: {told} (the pause by ann@shop has ended)"]
    assert await journal.paused() is None


async def test_a_suspended_target_is_resumed_and_the_pause_stays(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    await journal.pause("ann@shop", "release freeze")
    await ended(journal, Outcome.failed("no better"))
    said = await say(tmp_path, "resume", "--target", TARGET)
    assert (said.code, said.err) == (0, "")
    assert said.out == "resumed: what did not help on 1 target counts no more\n"
    assert (await say(tmp_path, "resume", "--suspended")).out == "no target was suspended\n"
    assert await journal.paused()


async def test_a_target_on_which_nothing_failed_is_told(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    said = await say(tmp_path, "resume", "--target", "typo")
    assert (said.code, said.out) == (1, "")
    assert said.mistakes[0].startswith("remedy: nothing failed on 'typo'")


async def test_one_target_or_all_of_them_is_resumed(tmp_path: Path) -> None:
    said = await say(tmp_path, "resume", "--target", "x", "--suspended")
    assert (said.code, said.out) == (2, "")


# Approve and deny


async def test_an_approved_execution_goes_on(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await asking(journal)

    async def act() -> None:
        await answered(journal)
        await journal.admit(execution, PLAN, [], lambda history: None)

    said, _ = await while_saying(say(tmp_path, "approve", execution.id), act)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("approved: it goes on")


async def test_a_denied_execution_ends_with_the_reason(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)

    async def refuse() -> None:
        await answered(journal)
        record = await journal.record(execution.id)
        assert record
        assert record.question
        assert record.question.by
        outcome = Outcome.failed(f"denied: {record.question.reason}")
        await journal.finish(execution, Ending(outcome, is_failure=outcome.is_failure), attempts=0)

    command = say(tmp_path, "deny", execution.id, "--reason", "not today")
    said, _ = await while_saying(command, refuse)
    assert (said.code, said.err) == (0, "")
    assert said.out == "denied: it ended succeeded/fail: denied: not today\n"


async def test_a_plan_that_changed_is_asked_again(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await asking(journal)

    async def ask_again() -> None:
        await answered(journal)
        other = Plan((Change(TARGET, "replicas", 1, 9),))
        now = time.time()
        await journal.ask(execution, Question(other, "production", now, now + 900))

    said, _ = await while_saying(say(tmp_path, "approve", execution.id), ask_again)
    assert (said.code, said.out) == (1, "")
    assert said.mistakes[0].startswith("remedy: approved, but the plan has changed: it asks again")


async def test_a_service_that_does_not_go_on_is_told(
    tmp_path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = await asking(journal)
    monkeypatch.setattr(operating, "HEARD_SECONDS", 0.3)
    said = await say(tmp_path, "approve", execution.id)
    assert (said.code, said.out) == (1, "")
    assert "the service has not gone on with it yet" in said.err
    assert await journal.answered() == [execution.id]


async def test_an_answer_without_a_service_is_kept_for_the_next_one(tmp_path: Path) -> None:
    execution_id = await prepared(tmp_path, asking)
    said = await say(tmp_path, "approve", execution_id)
    assert (said.code, said.err) == (0, "")
    assert said.out == ("approved: no service runs from journal.db: the next one goes on with it\n")
    async with left_by_a_service(tmp_path) as journal:
        assert await journal.answered() == [execution_id]


async def test_an_answer_as_json_is_the_execution(tmp_path: Path) -> None:
    execution_id = await prepared(tmp_path, asking)
    told = json.loads((await say(tmp_path, "deny", execution_id, "--json")).out)
    assert (told["id"], told["question"]["verdict"]) == (execution_id, "denied")


async def test_an_execution_that_can_not_be_answered_is_told(tmp_path: Path) -> None:
    running = await prepared(tmp_path, begun)
    asked = await prepared(tmp_path, asking)
    await say(tmp_path, "deny", asked)
    for execution_id, why in (
        ("unknown", "there is no such execution"),
        (running, "the execution asks nothing"),
        (asked, "it was denied by "),
    ):
        said = await say(tmp_path, "approve", execution_id)
        assert (said.code, said.out) == (1, "")
        assert said.mistakes[0].startswith(f"remedy: {execution_id!r} is not approved: {why}")


async def test_nothing_is_approved_while_a_file_pauses_but_may_be_denied(tmp_path: Path) -> None:
    execution_id = await prepared(tmp_path, asking)
    (tmp_path / "pause").write_text("cluster upgrade")
    said = await say(tmp_path, "approve", execution_id, REMEDY_PAUSE_FILE="pause")
    assert (said.code, said.out) == (1, "")
    assert (
        "paused by file pause: cluster upgrade; remove that file, then approve" in said.mistakes[0]
    )
    assert (await say(tmp_path, "deny", execution_id, REMEDY_PAUSE_FILE="pause")).code == 0
    said = await say(tmp_path, "deny", execution_id, REMEDY_PAUSE_FILE="pause")
    assert re.match(r"denied by \S+ already: ", said.out)


@pytest.mark.parametrize(("order", "verdict"), [("approve", "approved"), ("deny", "denied")])
async def test_the_same_answer_again_is_no_mistake(
    tmp_path: Path, order: str, verdict: str
) -> None:
    execution_id = await prepared(tmp_path, asking)
    await say(tmp_path, order, execution_id)
    said = await say(tmp_path, order, execution_id)
    assert (said.code, said.err) == (0, "")
    assert re.match(rf"{verdict} by \S+@\S+ already: no service runs", said.out)


async def test_the_same_answer_is_no_mistake_when_it_has_ended(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)
    await journal.answer(execution.id, "denied", "ann@shop", "")
    await journal.finish(execution, Ending(Outcome.failed("refused"), is_failure=True), attempts=0)
    said = await say(tmp_path, "deny", execution.id)
    assert (said.code, said.err) == (0, "")
    assert said.out == "denied by ann@shop already: it ended succeeded/fail: refused\n"
    assert (await say(tmp_path, "approve", execution.id)).code == 1


# Undo


@pytest.mark.parametrize(
    ("state", "code", "told"),
    [
        ("done", 0, "undone: 1 replica again"),
        ("refused", 1, "remedy: not undone, and nothing was changed: 1 replica again"),
        ("failed", 1, "remedy: the undo failed: 1 replica again"),
    ],
)
async def test_an_undo_is_waited_for(
    tmp_path: Path, journal: SqliteJournal, state: Any, code: int, told: str
) -> None:
    execution = await ended(journal)

    async def carry_out() -> None:
        await wanted(journal, execution)
        await journal.end_undo(execution.id, state, "1 replica again")

    said, _ = await while_saying(say(tmp_path, "undo", execution.id), carry_out)
    assert said.code == code
    assert (said.out + said.err).splitlines()[0] == told
    assert bool(said.out) == (code == 0)
    undo = await journal.undo_of(execution.id)
    assert undo
    assert undo.by


async def test_an_undo_as_json_is_the_execution(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await ended(journal)

    async def carry_out() -> None:
        await wanted(journal, execution)
        await journal.end_undo(execution.id, "refused", "someone else has scaled it")

    said, _ = await while_saying(say(tmp_path, "undo", execution.id, "--json"), carry_out)
    assert said.code == 1
    assert json.loads(said.out)["undo"]["state"] == "refused"


async def test_an_undo_needs_a_service(tmp_path: Path) -> None:
    execution_id = await prepared(tmp_path, ended)
    said = await say(tmp_path, "undo", execution_id)
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == [
        "remedy: not undone: no service runs from journal.db, which has to do it; start it first"
    ]
    async with left_by_a_service(tmp_path) as journal:
        assert await journal.undo_of(execution_id) is None


async def test_a_service_that_stops_before_the_undo_is_told(tmp_path: Path) -> None:
    async with left_by_a_service(tmp_path) as journal:
        execution = await ended(journal)
        command = asyncio.create_task(say(tmp_path, "undo", execution.id))
        await wanted(journal, execution)
    said = await command
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == ["remedy: not undone yet: the service stopped; the next one does it"]


async def test_what_can_not_be_undone_is_told(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await begun(journal)
    for execution_id, why in (
        ("unknown", "there is no such execution"),
        (execution.id, "the execution has not finished"),
    ):
        said = await say(tmp_path, "undo", execution_id)
        assert (said.code, said.out) == (1, "")
        assert said.mistakes[0].startswith(f"remedy: {execution_id!r} is not undone: {why}")


# The journal


@pytest.mark.parametrize(
    "command",
    [["pause", "--reason", "x"], ["resume"], ["approve", "x"], ["deny", "x"], ["undo", "x"]],
    ids=lambda command: command[0],
)
async def test_where_there_is_no_journal_nothing_is_ordered(
    tmp_path: Path, command: list[str]
) -> None:
    said = await say(tmp_path, *command)
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == ["remedy: there is no journal at journal.db; set REMEDY_JOURNAL"]


async def test_what_waits_for_approval_is_listed_and_shown_with_its_plan(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)
    _, line = (await say(tmp_path, "journal", "list")).out.splitlines()
    assert "  waits for approval  scale" in line
    listed = json.loads((await say(tmp_path, "journal", "list", "--json")).out)
    assert (listed["state"], listed["waiting"]) == ("started", "approval")
    shown = await show(tmp_path, execution.id)
    assert re.search(r"^state +waits for approval$", shown, re.MULTILINE)
    assert re.search(r"^asks +since .* rule production; until .*, then deny$", shown, re.MULTILINE)
    assert re.search(rf"^would do +{TARGET} replicas: 1 -> 2$", shown, re.MULTILINE)


async def test_what_waits_is_listed_with_what_it_waits_for(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    await ended(journal, service="carts")
    asked = await asking(journal, service="carts")
    second = await begun(journal, service="carts")
    third = await begun(journal, service="carts")
    await begun(journal, service="orders")
    header, *lines = (await say(tmp_path, "journal", "list", "--waiting")).out.splitlines()
    assert header.startswith("ACCEPTED")
    assert [line.split()[-1] for line in lines] == [asked.id, asked.id, "deny"]
    assert re.search(rf"  waits  .* {third.id}  behind {asked.id}$", lines[0])
    assert re.search(rf"  waits  .* {second.id}  behind {asked.id}$", lines[1])
    assert re.search(r"  waits for approval  .*  until 2\S+Z, then deny$", lines[2])


async def test_what_waits_is_told_to_programs(tmp_path: Path, journal: SqliteJournal) -> None:
    asked, behind = await asking(journal), await begun(journal)
    said = await say(tmp_path, "journal", "list", "--waiting", "--json")
    second, first = (json.loads(line) for line in said.out.splitlines())
    assert (first["id"], first["waiting"], first["waiting_behind"]) == (asked.id, "approval", None)
    assert first["waiting_until"]
    assert (second["id"], second["waiting"]) == (behind.id, None)
    assert (second["waiting_until"], second["waiting_behind"]) == (None, asked.id)


async def test_of_those_that_wait_as_many_are_listed_as_wanted(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    waiting = [await asking(journal, service=str(number)) for number in range(3)]
    await begun(journal, service="orders")
    said = await say(tmp_path, "journal", "list", "--waiting", "--limit", "2", "--json")
    listed = [json.loads(line)["id"] for line in said.out.splitlines()]
    assert listed == [execution.id for execution in reversed(waiting[1:])]
    said = await say(tmp_path, "journal", "list", "--waiting", "--state", "accepted", "--json")
    assert (said.code, said.out) == (0, "")


async def test_people_see_an_errored_execution_as_errored(
    tmp_path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(looking, "is_terminal", lambda: True)
    await ended(journal, Outcome.errored("no answer"))
    await ended(journal, Outcome.failed("no better"))
    listed = (await say(tmp_path, "journal", "list", COLUMNS="100")).out
    assert re.findall(r"Z +(\w+) +scale", listed) == ["fail", "errored"]


async def test_where_nothing_waits_that_is_said_to_people_alone(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    await begun(journal)
    said = await say(tmp_path, "journal", "list", "--waiting")
    assert (said.code, said.out) == (0, "nothing waits for approval or behind another\n")
    assert (await say(tmp_path, "journal", "list", "--waiting", "--json")).out == ""


async def test_what_is_finished_is_not_asked_what_it_waits_for(tmp_path: Path) -> None:
    said = await say(tmp_path, "journal", "list", "--waiting", "--state", "finished")
    assert (said.code, said.out) == (2, "")


async def test_an_execution_that_waits_for_another_shows_which(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    first, second = await begun(journal), await begun(journal)
    shown = await show(tmp_path, second.id)
    assert re.search(r"^state +waits$", shown, re.MULTILINE)
    assert re.search(rf"^behind +{first.id}$", shown, re.MULTILINE)


async def test_a_plan_that_was_denied_is_shown(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await asking(journal)
    await journal.answer(execution.id, "denied", "ann@shop", "not today")
    await journal.finish(execution, Ending(Outcome.failed("refused"), is_failure=True), attempts=0)
    shown = await show(tmp_path, execution.id)
    assert re.search(r"^denied +by ann@shop: not today$", shown, re.MULTILINE)
    assert re.search(rf"^would have done +{TARGET} replicas: 1 -> 2$", shown, re.MULTILINE)


async def test_a_plan_that_nobody_approved_in_time_is_shown(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)
    await journal.finish(execution, Ending(Outcome.failed("refused"), is_failure=True), attempts=0)
    shown = await show(tmp_path, execution.id)
    assert re.search(r"^asked +since .*, for the rule production; until ", shown, re.MULTILINE)
    assert re.search(r"^would have done +", shown, re.MULTILINE)


async def test_what_silence_decided_is_told_as_asked_and_by_nobody(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)
    await journal.close_question(execution)
    shown = await show(tmp_path, execution.id)
    assert re.search(r"^asked +since .*, for the rule production; until ", shown, re.MULTILINE)
    assert "by None" not in shown
    said = await say(tmp_path, "deny", execution.id)
    assert said.code == 1
    told = "nobody answered in time, so it was denied; look at it with remedy journal show"
    assert said.mistakes == [f"remedy: {execution.id!r} is not denied: {told} {execution.id}"]


async def test_who_approved_what_was_done_is_shown_beside_the_plan(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)
    await journal.answer(execution.id, "approved", "ann@shop", "looks right")
    await journal.admit(execution, PLAN, [], lambda history: None)
    details = {"approved_by": "ann@shop", "approved_because": "looks right"}
    await journal.finish(execution, Ending(Outcome.passed("2 replicas", **details)), attempts=1)
    shown = await show(tmp_path, execution.id)
    assert re.search(r"^approved +by ann@shop: looks right$", shown, re.MULTILINE)
    assert re.search(rf"^plan +{TARGET} replicas: 1 -> 2$", shown, re.MULTILINE)
    assert "would have done" not in shown


async def test_who_approved_is_shown_by_the_details_alone(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    details = {"approved_by": "ann@shop"}
    execution = await ended(journal, Outcome.passed("2 replicas", **details))
    assert re.search(r"^approved +by ann@shop$", await show(tmp_path, execution.id), re.MULTILINE)


async def test_what_waits_is_followed_until_it_does_not(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    asked, behind = await asking(journal), await begun(journal)
    tail = await asyncio.create_subprocess_exec(
        REMEDY,
        "journal",
        "tail",
        cwd=tmp_path,
        env=clean(tmp_path, {"REMEDY_JOURNAL": JOURNAL}),
        stdout=asyncio.subprocess.PIPE,
    )

    async def line() -> str:
        assert tail.stdout
        async with asyncio.timeout(SECONDS):
            return (await tail.stdout.readline()).decode().strip()

    assert re.search(r"waits for approval .* until \S+Z, then deny$", await line())
    assert re.search(rf"waits .*  {behind.id}  behind {asked.id}$", await line())
    await journal.finish(asked, Ending(Outcome.failed("refused"), is_failure=True), attempts=0)
    assert (await line()).endswith("succeeded/fail: refused")
    assert (await line()).endswith(behind.id)
    tail.terminate()
    await tail.wait()


async def test_an_answer_is_shown(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await asking(journal)
    await journal.answer(execution.id, "denied", "ann@shop", "not today")
    shown = await show(tmp_path, execution.id)
    assert re.search(r"^state +started$", shown, re.MULTILINE)
    assert re.search(r"^denied +by ann@shop: not today$", shown, re.MULTILINE)


async def test_an_undo_is_shown_from_armed_to_done(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await begun(journal)
    await journal.admit(execution, PLAN, [], lambda history: None)
    arm = Arm(on_closed=True, due_at=4_102_444_800.0)
    await journal.finish(execution, Ending(Outcome.passed("2 replicas"), arm=arm), attempts=1)
    shown = await show(tmp_path, execution.id)
    armed = r"^undo +to be done: when the problem closes or 2100-01-01T00:00:00Z$"
    assert re.search(armed, shown, re.MULTILINE)
    await journal.want_undo(execution.id, "an order", "ann@shop", "too much")
    shown = await show(tmp_path, execution.id)
    order = r"\(an order by ann@shop: too much\)"
    assert re.search(rf"^undo +wanted {order}$", shown, re.MULTILINE)
    await journal.begin_undo(execution.id)
    await journal.end_undo(execution.id, "done", "1 replica again")
    shown = await show(tmp_path, execution.id)
    assert re.search(rf"^undo +done at \S+: 1 replica again {order}$", shown, re.MULTILINE)


@pytest.mark.parametrize(
    ("state", "told"),
    [("done", "; undone"), ("refused", "; undo refused"), ("failed", "; undo failed")],
)
async def test_how_an_undo_ended_is_listed(
    tmp_path: Path, journal: SqliteJournal, state: Any, told: str
) -> None:
    execution = await ended(journal)
    await journal.want_undo(execution.id, "an order", "ann@shop")
    assert (await say(tmp_path, "journal", "list")).out.endswith("  succeeded/pass: 2 replicas\n")
    await journal.begin_undo(execution.id)
    await journal.end_undo(execution.id, state, "1 replica again")
    listed = (await say(tmp_path, "journal", "list")).out
    assert listed.endswith(f"  succeeded/pass: 2 replicas{told}\n")


@pytest.mark.parametrize(
    ("undo", "told"),
    [
        (UndoAtOnce("done", "undone"), "undone"),
        (UndoAtOnce("refused", "changed since"), "not undone: changed since"),
        (UndoAtOnce("failed", "no such flag"), "UNDO FAILED: no such flag"),
    ],
)
async def test_an_undo_that_the_outcome_tells_is_not_told_twice(
    tmp_path: Path, journal: SqliteJournal, undo: UndoAtOnce, told: str
) -> None:
    execution = await begun(journal)
    await journal.finish(
        execution,
        Ending(Outcome.failed(f"no better; {told}"), is_failure=True, undo=undo),
        attempts=1,
    )
    listed = (await say(tmp_path, "journal", "list")).out
    assert listed.endswith(f"  succeeded/fail: no better; {told}\n")


async def test_an_aborted_execution_is_shown_as_such(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)
    assert await journal.note_abort(execution.id, "Keptn gave the sequence up")
    await journal.finish(
        execution, Ending(Outcome.errored("aborted before it acted"), is_aborted=True), attempts=0
    )
    shown = await show(tmp_path, execution.id)
    assert re.search(r"^outcome +aborted/fail: aborted before it acted$", shown, re.MULTILINE)
    assert re.search(r"^aborted +Keptn gave the sequence up$", shown, re.MULTILINE)
    listed = json.loads((await say(tmp_path, "journal", "list", "--json")).out)
    assert (listed["status"], listed["waiting"]) == ("aborted", None)
