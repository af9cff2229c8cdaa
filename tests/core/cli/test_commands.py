"""The commands as a user first meets them: help, version and wrong usage."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from keptn_remedy.cli.commands import app
from tests.commands import REMEDY, SECONDS, clean, remedy

SINCE = "--since takes a duration or a time in UTC: 2h, 30m, 2026-03-02 or"
ROOT: Any = typer.main.get_command(app)


def helps(
    command: Any = ROOT, name: str = "remedy", above: Any = None
) -> Iterator[tuple[str, str]]:
    """Each command with its help, as a terminal of 80 columns shows it; click leaves 2 free."""
    here = typer.Context(command, above, info_name=name, terminal_width=78)
    yield here.command_path, command.get_help(here)
    for below, each in getattr(command, "commands", {}).items():
        yield from helps(each, below, here)


def test_each_command_has_help_that_is_whole_in_80_columns() -> None:
    found = dict(helps())
    assert len(found) > 40
    for command, said in found.items():
        assert said.startswith(f"Usage: {command} [OPTIONS]"), command
        assert max(map(len, said.splitlines())) <= 80, command
        cut = re.findall(r".*(?:[a-z]\.\.\.|<str>|<path>|[{}]).*", said.replace("'{\"", ""))
        assert [line for line in cut if "Example:" not in line] == [], command


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_is_asked_for_at_every_level(option: str) -> None:
    for words in ([], ["journal"], ["journal", "list"]):
        said = CliRunner().invoke(app, [*words, option])
        assert (said.exit_code, said.output.split("[")[0].split()[1:]) == (0, ["remedy", *words])


def test_every_command_tells_its_mistakes_as_json(tmp_path: Path) -> None:
    def leaves(command: Any) -> Iterator[Any]:
        below = getattr(command, "commands", None)
        yield from (each for one in below.values() for each in leaves(one)) if below else [command]

    found = list(leaves(ROOT))
    lacking = [each.name for each in found if not any("--json" in p.opts for p in each.params)]
    assert (lacking, len(found) > 30) == ([], True)
    for words, code in (
        (["init", "Bad_Name"], 2),
        (["journal", "backup", str(tmp_path / "copy")], 1),
        (["policy", "schema", "--nope"], 2),
    ):
        environ = {"REMEDY_JOURNAL": str(tmp_path / "none.db")}
        said = CliRunner().invoke(app, [*words, "--json"], env=environ)
        assert (said.exit_code, said.stdout) == (code, "")
        assert list(json.loads(said.stderr)) == ["error"]


def test_the_help_lists_every_command() -> None:
    said = CliRunner().invoke(app, ["--help"])
    commands = re.findall(r"^  (\w+)  ", said.output.partition("Commands:")[2], re.MULTILINE)
    assert set(commands) == {
        "serve",
        "send",
        "actions",
        "try",
        "journal",
        "reports",
        "version",
        "doctor",
        "lint",
        "init",
        "score",
        "judge",
        "notify",
        "policy",
        "operators",
        "sources",
        "episodes",
        "mcp",
        "pause",
        "resume",
        "approve",
        "deny",
        "undo",
    }


def test_a_command_that_does_not_exist_is_wrong_usage() -> None:
    assert CliRunner().invoke(app, ["lunch"]).exit_code == 2


@pytest.mark.parametrize(
    ("option", "mistake"),
    [
        (["--state", "open"], "--state takes accepted, started or finished"),
        (["--limit", "0"], "--limit takes a whole number from 1 to 100000"),
        (["--limit", "many"], "--limit takes a whole number from 1 to 100000"),
    ],
    ids=str,
)
def test_an_option_says_what_it_takes(option: list[str], mistake: str) -> None:
    said = CliRunner().invoke(app, ["journal", "list", *option])
    assert said.exit_code == 2
    assert said.stderr.splitlines()[-1] == f"Error: {mistake}"


@pytest.mark.parametrize(
    ("words", "mistake"),
    [
        (
            ["journal", "list", "--since", "yesterday"],
            f"Error: {SINCE}\n       2026-03-02T14:00Z\n",
        ),
        (
            ["--server", "http://127.0.0.1:1", "journal", "list"],
            "Error: No such option: --server; it stands after the command\n",
        ),
    ],
)
def test_wrong_usage_is_folded_for_people(
    words: list[str],
    mistake: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with pytest.raises(SystemExit) as stopped:
        app(words)
    assert (stopped.value.code, capsys.readouterr().err.partition("\n\n")[2]) == (2, mistake)


def test_help_does_not_wait_for_heavy_modules(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", REMEDY, "--help"],
        env=clean(tmp_path, {}),
        capture_output=True,
        text=True,
        check=True,
        timeout=SECONDS,
    )
    imported = {
        line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.split("\n")
    }
    assert "typer" in imported
    assert not imported & {"aiohttp", "kubernetes", "pydantic"}


def test_the_version_is_that_of_the_distribution(tmp_path: Path) -> None:
    number = remedy(tmp_path, "version").out.strip()
    assert re.fullmatch(r"\d+\.\d+\.\d+", number)
    assert json.loads(remedy(tmp_path, "version", "--json").out) == {"version": number}
