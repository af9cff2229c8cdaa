"""`remedy pause` and `remedy resume`: what is stored and what is printed."""

import getpass
import json
import os
import re
from pathlib import Path

import pytest

from keptn_remedy import Outcome
from keptn_remedy.journal.sqlite import SqliteJournal
from tests.core.cli.orders import left_by_a_service, prepared
from tests.ordering import TARGET, begun, ended, say


async def test_a_pause_is_stored_with_who_and_why(tmp_path: Path, journal: SqliteJournal) -> None:
    said = await say(tmp_path, "pause", "--reason", "release\nfreeze")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "paused: executions are refused, with this reason, until remedy resume",
        "executions that are already acting run to their end",
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
        "no service is running with the journal journal.db; the next one to start will be paused"
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


@pytest.mark.parametrize("command", [["pause", "--reason", "x"], ["resume"]], ids=" ".join)
async def test_an_order_that_the_service_does_not_confirm_is_told(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keptn_remedy.cli.order.HEARD_SECONDS", 0.05)
    async with left_by_a_service(tmp_path):  # served, by a process that hangs
        said = await say(tmp_path, *command)
    assert (said.code, said.out) == (1, "")
    (told,) = said.mistakes
    assert told.startswith("remedy: stored in the journal, but the service has not confirmed it")


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
    pattern = r'this replaces the pause by ann@shop since 2\S+Z: "release freeze"'
    assert re.fullmatch(pattern, said.out.splitlines()[1])
    paused = await journal.paused()
    assert paused
    assert paused.reason == "fire drill"


async def test_a_pause_is_ended_once(tmp_path: Path, journal: SqliteJournal) -> None:
    await journal.pause("ann@shop", "release freeze")
    first, second = await say(tmp_path, "resume"), await say(tmp_path, "resume")
    assert (first.code, second.code) == (0, 0)
    pattern = (
        r'resumed: this ends the pause by ann@shop since 2\S+Z: "release freeze"\n.* stay refused\n'
    )
    assert re.fullmatch(pattern, first.out)
    assert second.out == "nothing was paused\n"
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
    assert said.out == "resumed: earlier failures on 1 target no longer count\n"
    assert (await say(tmp_path, "resume", "--suspended")).out == "no target was suspended\n"
    assert await journal.paused()


async def test_a_target_on_which_nothing_failed_is_told(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    said = await say(tmp_path, "resume", "--target", "typo")
    assert (said.code, said.out) == (1, "")
    assert said.mistakes[0].startswith("remedy: no execution on the target 'typo' has failed")


async def test_one_target_or_all_of_them_is_resumed(tmp_path: Path) -> None:
    said = await say(tmp_path, "resume", "--target", "x", "--suspended")
    assert (said.code, said.out) == (2, "")
