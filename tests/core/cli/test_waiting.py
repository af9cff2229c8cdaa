"""What open executions wait for, in lists and while they are followed."""

import asyncio
import json
import re
from pathlib import Path

from keptn_remedy import Outcome
from keptn_remedy.journal import Ending
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.commands import (
    REMEDY,
    SECONDS,
    clean,
)
from tests.core.cli.orders import show
from tests.ordering import JOURNAL, TARGET, asking, begun, ended, say


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
    asked = r"^approval +asked at 2\S+Z by the rule production; denied unless answered by 2\S+Z$"
    assert re.search(asked, shown, re.MULTILINE)
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
    assert header.startswith("EXECUTION")
    assert [line.split()[0] for line in lines] == [third.id, second.id, asked.id]
    assert re.search(rf"  waits  .* behind {asked.id}$", lines[0])
    assert re.search(rf"  waits  .* behind {asked.id}$", lines[1])
    assert re.search(r"  waits for approval  .*  until 2\S+Z, then denied$", lines[2])


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


async def test_an_execution_that_waits_for_another_shows_which(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    first, second = await begun(journal), await begun(journal)
    shown = await show(tmp_path, second.id)
    assert re.search(r"^state +waits$", shown, re.MULTILINE)
    assert re.search(rf"^behind +{first.id}$", shown, re.MULTILINE)


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

    assert re.search(r"waits for approval .* until \S+Z, then denied$", await line())
    assert re.search(rf"^{behind.id}  waits .*  behind {asked.id}$", await line())
    await journal.finish(asked, Ending(Outcome.failed("refused"), is_failure=True), attempts=0)
    assert (await line()).endswith("succeeded/fail: refused")
    assert (await line()).startswith(behind.id)
    tail.terminate()
    await tail.wait()
