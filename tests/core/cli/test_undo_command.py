"""`remedy undo`: what is stored, printed, and when it returns."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from keptn_remedy import Outcome
from keptn_remedy.journal import Ending
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.cli.orders import left_by_a_service, prepared, wanted, while_saying
from tests.ordering import begun, ended, say


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
    why = "no service is running with the journal journal.db"
    assert said.mistakes == [
        f"remedy: not undone: {why}; start it with remedy serve, then try again"
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
    assert said.mistakes == [
        "remedy: not undone yet: the service stopped; the next one to start will undo it"
    ]


async def test_what_can_not_be_undone_is_told(tmp_path: Path, journal: SqliteJournal) -> None:
    execution, refused = await begun(journal), await begun(journal)
    outcome = Outcome.failed("refused by guard-rail pause")
    await journal.finish(refused, Ending(outcome, is_failure=False), attempts=1)
    for execution_id, why, look in (
        ("unknown", "there is no such execution", "list"),
        (execution.id, "the execution has not finished", f"show {execution.id}"),
        (refused.id, "it was refused, failed before it acted, or", f"show {refused.id}"),
    ):
        said = await say(tmp_path, "undo", execution_id)
        assert (said.code, said.out) == (1, "")
        assert said.mistakes[0].startswith(f"remedy: {execution_id!r} is not undone: {why}")
        assert f"remedy journal {look}" in said.mistakes[0]
