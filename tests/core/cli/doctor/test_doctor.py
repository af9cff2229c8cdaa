"""`remedy doctor`: one line for each thing looked at, and an exit code."""

import json
import re
import sys
from pathlib import Path

import pytest

from keptn_remedy.action import Finding
from keptn_remedy.cli.doctor import command
from keptn_remedy.journal.sqlite import SqliteJournal
from keptn_remedy.testing import FakeKeptn
from tests.commands import Said
from tests.ordering import JOURNAL, say

POLICY = "version: 1\nrules:\n- {name: a, settle: 1}\n"


def lines(said: Said) -> dict[str, tuple[str, str]]:
    """The mark and the text behind each thing looked at; the last one counts."""
    cells = [line.split(maxsplit=2) for line in said.out.splitlines()]
    return {about: (mark, text) for mark, about, text in cells}


async def test_a_healthy_installation_is_all_ok(tmp_path: Path, flags: Path) -> None:
    SqliteJournal.open(tmp_path / JOURNAL)  # a service holds it, and its ops port is elsewhere
    (tmp_path / "policy.yaml").write_text(POLICY)
    async with FakeKeptn() as keptn:
        said = await say(
            tmp_path,
            "doctor",
            FLAGD_FILE=str(flags),
            REMEDY_POLICY="policy.yaml",
            REMEDY_OPS_PORT="1",
            **keptn.environment,
        )
    found = lines(said)
    assert found["service"][0] == "WRONG"
    assert found["journal"] == (
        "ok",
        "journal.db: 0 executions open, 0 reports unsent; a service runs from it",
    )
    assert found["policy"] == ("ok", "policy.yaml: 1 rule")
    assert found["clock"][0] == found["sidecar"][0] == found["flagd"][0] == "ok"
    assert found["keptn"] == (
        "ok",
        "0.18 or newer: it shows which reports it counted, and not which release it is",
    )
    assert found["actions"] == ("ok", "on: toggle-feature")
    assert said.code == 1


async def test_what_is_wrong_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("version: 2")
    (tmp_path / JOURNAL).write_text("no journal")
    said = await say(
        tmp_path,
        "doctor",
        "--json",
        REMEDY_POLICY="policy.yaml",
        REMEDY_EVENT_URL="http://127.0.0.1:1/event",
    )
    found = {line["about"]: line for line in map(json.loads, said.out.splitlines())}
    for about in ("journal", "policy", "sidecar", "actions"):
        assert found[about]["is_good"] is False, about
        assert found[about]["to_do"], about
    assert found["service"]["is_good"] is None
    assert said.code == 1


async def test_a_keptn_that_shows_no_sequences_is_called_older(tmp_path: Path) -> None:
    async with FakeKeptn("0.14") as keptn:
        said = await say(tmp_path, "doctor", **keptn.environment)
    mark, text = lines(said)["keptn"]
    assert (mark, text.startswith("older than 0.18")) == ("-", True)


async def test_without_keptn_nothing_is_wrong(tmp_path: Path, flags: Path) -> None:
    said = await say(tmp_path, "doctor", REMEDY_TRANSPORT="local", FLAGD_FILE=str(flags))
    assert said.code == 0
    assert lines(said)["keptn"][0] == "-"
    assert lines(said)["journal"][1].endswith("does not exist yet: the first start makes it")


async def test_nats_that_can_not_be_reached_is_told(tmp_path: Path, flags: Path) -> None:
    said = await say(
        tmp_path,
        "doctor",
        REMEDY_TRANSPORT="nats",
        PUBSUB_URL="nats://127.0.0.1:1",
        REMEDY_KEPTN_API="http://127.0.0.1:1/api",
        FLAGD_FILE=str(flags),
    )
    assert lines(said)["nats"][0] == "WRONG"
    assert "check PUBSUB_URL" in lines(said)["nats"][1]


NO_FINDINGS = "it returned something else than Findings"
BROKEN = """
from keptn_remedy import Action, Finding

class Odd(Action):
    name = "odd"

    async def run(self, context, value):
        return None

    async def diagnose(self, http, namespaces):
        if "exit" in namespaces:
            raise SystemExit(4)
        if "none" in namespaces:
            return None
        if namespaces:
            return [Finding("odd", True, f"looked at {', '.join(namespaces)}")]
        raise RuntimeError("no such thing")
"""


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--namespace", "a", "--namespace", "b"), ("ok", "looked at a, b")),
        ((), ("WRONG", "its diagnosis failed: no such thing -> tell its author")),
        (
            ("--namespace", "exit"),
            ("WRONG", "its diagnosis failed: it called sys.exit(4) -> tell its author"),
        ),
        (
            ("--namespace", "none"),
            ("WRONG", f"its diagnosis failed: {NO_FINDINGS} -> tell its author"),
        ),
    ],
)
async def test_an_action_adds_lines_of_its_own(
    tmp_path: Path, options: tuple[str, ...], expected: tuple[str, str]
) -> None:
    folder = tmp_path / "drop-in"
    folder.mkdir(mode=0o755)
    (folder / "odd.py").write_text(BROKEN)
    given = {"REMEDY_TRANSPORT": "local", "REMEDY_ACTIONS_DIR": str(folder)}
    assert lines(await say(tmp_path, "doctor", *options, **given))["odd"] == expected


def test_people_read_it_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    where = "http://localhost:8081: can't be reached: Connect call failed"
    command._show(
        Finding("sidecar", False, f"{where} (localhost, 8081)", "start it"), as_json=False
    )
    shown = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert shown.splitlines() == [
        f"WRONG  sidecar      {where}",
        "                    (localhost, 8081)",
        "                    -> start it",
    ]
