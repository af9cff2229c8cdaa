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

COMMANDS = (
    ["serve"],
    ["send"],
    ["actions"],
    ["try"],
    ["version"],
    ["pause"],
    ["resume"],
    ["approve"],
    ["deny"],
    ["undo"],
    ["journal"],
    ["journal", "list"],
    ["journal", "show"],
    ["journal", "tail"],
    ["journal", "export"],
    ["journal", "backup"],
    ["journal", "restore"],
    ["reports"],
    ["reports", "list"],
    ["reports", "resend"],
    ["notify"],
    ["notify", "schema"],
    ["notify", "check"],
    ["notify", "test"],
    ["policy"],
    ["policy", "schema"],
    ["policy", "check"],
    ["operators"],
    ["operators", "add"],
    ["operators", "list"],
    ["operators", "remove"],
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_each_command_has_help(command: list[str]) -> None:
    said = CliRunner().invoke(app, [*command, "--help"])
    assert said.exit_code == 0
    assert said.output.startswith(f"Usage: remedy {' '.join(command)}")


def test_every_command_tells_its_mistakes_as_json(tmp_path: Path) -> None:
    def leaves(command: Any) -> Iterator[Any]:
        below = getattr(command, "commands", None)
        yield from (each for one in below.values() for each in leaves(one)) if below else [command]

    found = list(leaves(typer.main.get_command(app)))
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


@pytest.mark.parametrize("command", [*COMMANDS, []], ids=" ".join)
def test_help_is_whole_in_80_columns(command: list[str]) -> None:
    said = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "80"})
    assert max(map(len, said.output.splitlines())) <= 80
    assert not re.search(
        r"\w\.\.\.$|<str>|<path>|\{", said.output.replace("'{\"", ""), re.MULTILINE
    )


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
