"""`remedy approve` and `remedy deny`: what is stored, printed, and when they return."""

import json
import re
import time
from pathlib import Path

import pytest

from keptn_remedy import Change, Outcome, Plan
from keptn_remedy.cli import approval_commands
from keptn_remedy.journal import Ending, Question
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.cli.orders import answered, left_by_a_service, prepared, while_saying
from tests.ordering import PLAN, TARGET, asking, begun, say


async def test_an_approved_execution_goes_on(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await asking(journal)

    async def act() -> None:
        await answered(journal)
        await journal.admit(execution, PLAN, [], lambda history: None)

    said, _ = await while_saying(say(tmp_path, "approve", execution.id), act)
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("approved: the execution continues; see remedy journal show ")


async def test_an_approval_of_what_keptn_has_ended_fails(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)

    async def abort() -> None:
        await answered(journal)
        await journal.note_abort(execution.id, "Keptn no longer waits for it")
        outcome = Outcome.errored("Keptn no longer waits for it; nothing was done")
        await journal.finish(execution, Ending(outcome, is_aborted=True), attempts=0)

    said, _ = await while_saying(say(tmp_path, "approve", execution.id), abort)
    assert (said.code, said.out) == (1, "")
    ended = "Keptn no longer waits for it; nothing was done"
    assert said.mistakes == [f"remedy: approved, but the execution was aborted: {ended}"]


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
    assert said.out == "denied: the execution ended as succeeded/fail: denied: not today\n"


async def test_a_plan_that_changed_is_asked_again(tmp_path: Path, journal: SqliteJournal) -> None:
    execution = await asking(journal)

    async def ask_again() -> None:
        await answered(journal)
        other = Plan((Change(TARGET, "replicas", 1, 9),))
        now = time.time()
        await journal.ask(execution, Question(other, "production", now, now + 900))

    said, _ = await while_saying(say(tmp_path, "approve", execution.id), ask_again)
    assert (said.code, said.out) == (1, "")
    assert said.mistakes[0].startswith(
        "remedy: approved, but the plan has changed, so it asks again"
    )


async def test_a_service_that_does_not_go_on_is_told(
    tmp_path: Path, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    execution = await asking(journal)
    monkeypatch.setattr(approval_commands, "HEARD_SECONDS", 0.3)
    said = await say(tmp_path, "approve", execution.id)
    assert (said.code, said.out) == (1, "")
    assert "the service has not continued it within 0.3 s" in said.err
    assert await journal.answered() == [execution.id]


async def test_an_answer_without_a_service_is_kept_for_the_next_one(tmp_path: Path) -> None:
    execution_id = await prepared(tmp_path, asking)
    said = await say(tmp_path, "approve", execution_id)
    assert (said.code, said.err) == (0, "")
    assert said.out == (
        "approved: no service is running with the journal journal.db;"
        " the next one to start continues the execution\n"
    )
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
    why = "paused by file pause: cluster upgrade; remove that file, then approve"
    assert why in said.mistakes[0]
    assert (await say(tmp_path, "deny", execution_id, REMEDY_PAUSE_FILE="pause")).code == 0
    said = await say(tmp_path, "deny", execution_id, REMEDY_PAUSE_FILE="pause")
    assert re.match(r"already denied by \S+: ", said.out)


@pytest.mark.parametrize(("order", "verdict"), [("approve", "approved"), ("deny", "denied")])
async def test_the_same_answer_again_is_no_mistake(
    tmp_path: Path, order: str, verdict: str
) -> None:
    execution_id = await prepared(tmp_path, asking)
    await say(tmp_path, order, execution_id)
    said = await say(tmp_path, order, execution_id)
    assert (said.code, said.err) == (0, "")
    assert re.match(rf"already {verdict} by \S+@\S+: no service is running", said.out)


async def test_the_same_answer_is_no_mistake_when_it_has_ended(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    execution = await asking(journal)
    await journal.answer(execution.id, "denied", "ann@shop", "")
    await journal.finish(execution, Ending(Outcome.failed("refused"), is_failure=True), attempts=0)
    said = await say(tmp_path, "deny", execution.id)
    assert (said.code, said.err) == (0, "")
    assert (
        said.out == "already denied by ann@shop: the execution ended as succeeded/fail: refused\n"
    )
    assert (await say(tmp_path, "approve", execution.id)).code == 1
