"""`remedy journal`: lists, shows, follows and exports."""

import json
import re
import subprocess
from pathlib import Path
from signal import SIGINT

import pytest

from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.testing import triggered
from tests.commands import REMEDY, SECONDS, clean, local_provider, remedy
from tests.core.cli.folders import look, saved
from tests.core.cli.orders import left_by_a_service
from tests.ordering import asking, begun, say

UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a demonstration was played to its end."""
    folder = tmp_path_factory.mktemp("played")
    with local_provider(folder, "--demo") as running:
        assert running.stop().code == 0
    return folder


def test_a_finished_execution_is_listed_on_one_line(played: Path) -> None:
    heading, line = look(played, "list").splitlines()
    assert heading.split()[:3] == ["EXECUTION", "STATE", "ACTION"]
    assert UUID.match(line)
    assert "  succeeded/pass: PromotionCampaign off in var/flags.json (flagd)" in line


def test_executions_are_listed_by_state(played: Path) -> None:
    assert json.loads(look(played, "list", "--json", "--state", "finished"))["result"] == "pass"
    assert look(played, "list", "--json", "--state", "started") == ""


def test_an_execution_is_shown_whole(played: Path) -> None:
    execution = json.loads(look(played, "list", "--json"))
    shown = look(played, "show", execution["id"])
    assert re.search(r"^plan +.*PromotionCampaign.*true -> false$", shown, re.MULTILINE)
    event = json.loads(shown.partition("The event as received:")[2])
    assert event["id"] == execution["id"]
    whole = json.loads(look(played, "show", execution["id"], "--json"))
    assert whole["trigger"] == event


def test_an_execution_that_is_not_there_failed(played: Path) -> None:
    said = remedy(played, "journal", "show", "nope", REMEDY_JOURNAL="var/local-journal.db")
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == [
        "remedy: there is no execution 'nope'; remedy journal list shows the ids"
    ]


def test_every_execution_is_exported_as_a_line_of_json(played: Path) -> None:
    (line,) = look(played, "export").splitlines()
    assert json.loads(line)["trigger"]["data"]["action"]["action"] == "toggle-feature"


def test_a_journal_is_followed_while_the_service_runs(tmp_path: Path) -> None:
    with local_provider(tmp_path, "--demo") as running:
        tail = subprocess.Popen(
            [REMEDY, "journal", "tail", "--json"],
            cwd=tmp_path,
            env=clean(tmp_path, {"REMEDY_JOURNAL": "var/local-journal.db"}),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with tail:
            assert tail.stdout
            before = json.loads(tail.stdout.readline())
            event = triggered("toggle-feature", {"Recommendations": "off"})
            remedy(tmp_path, "send", saved(tmp_path, event), "--to", running.events)
            followed = json.loads(tail.stdout.readline())
            tail.send_signal(SIGINT)
            rest, mistakes = tail.communicate(timeout=SECONDS)
    assert before["state"] == "finished"
    assert followed["id"] == event["id"]
    assert all(json.loads(line)["id"] == event["id"] for line in rest.splitlines())
    assert (tail.returncode, mistakes) == (0, "")


async def test_what_is_finished_is_not_asked_what_it_waits_for(tmp_path: Path) -> None:
    said = await say(tmp_path, "journal", "list", "--waiting", "--state", "finished")
    assert (said.code, said.out) == (2, "")


async def test_where_nothing_waits_that_is_said_to_people_alone(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    await begun(journal)
    said = await say(tmp_path, "journal", "list", "--waiting")
    assert (said.code, said.out) == (
        0,
        "no execution waits for approval or behind another execution\n",
    )
    assert (await say(tmp_path, "journal", "list", "--waiting", "--json")).out == ""


SECRET = "s3cr3t-of-unleash"


async def test_what_the_journal_shows_is_masked(tmp_path: Path, journal: SqliteJournal) -> None:
    value = {"token": SECRET, f"key {SECRET}": [f"Bearer {SECRET}"]}
    execution = await begun(journal, value=value)
    settings = {"UNLEASH_URL": "http://unleash:4242", "UNLEASH_API_TOKEN": SECRET}
    for command in (
        ("journal", "show", execution.id),
        ("journal", "show", execution.id, "--json"),
        ("journal", "export"),
    ):
        said = await say(tmp_path, *command, **settings)
        assert said.code == 0, said.err
        assert SECRET not in said.out
        assert said.out.count("**********") == 3


async def test_what_orders_show_is_masked(tmp_path: Path) -> None:
    async with left_by_a_service(tmp_path) as journal:
        execution = await asking(journal, value={"token": SECRET})
    settings = {"UNLEASH_URL": "http://unleash:4242", "UNLEASH_API_TOKEN": SECRET}
    said = await say(tmp_path, "approve", execution.id, "--json", **settings)
    assert json.loads(said.out)["trigger"]["data"]["action"]["value"] == {"token": "**********"}


async def test_settings_that_hide_what_is_secret_end_the_show(
    tmp_path: Path, journal: SqliteJournal
) -> None:
    said = await say(tmp_path, "journal", "show", "1", REMEDY_ACTIONS="nonsense")
    assert (said.code, said.out) == (2, "")
    assert "nonsense" in said.err
