"""`remedy actions`: the list, and one action whole."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keptn_remedy.cli import actions_command, terminal
from keptn_remedy.cli.commands import app
from tests.commands import (
    remedy,
)
from tests.core.cli.folders import BUILT_IN


def test_actions_are_listed_one_a_line_with_why_they_are_off(tmp_path: Path) -> None:
    said = remedy(tmp_path, "actions")
    assert said.code == 0
    assert re.search(r"^toggle-feature  off: .*FLAGD_FILE", said.out, re.MULTILINE)
    assert not any(line.endswith(" ") for line in said.out.splitlines())


def test_actions_as_json_tell_what_is_on(tmp_path: Path, flags: Path) -> None:
    said = remedy(tmp_path, "actions", "--json", FLAGD_FILE=str(flags))
    listed = {action["name"]: action for action in json.loads(said.out)}
    assert listed["toggle-feature"]["on"] is True
    assert listed["toggle-feature"]["kind"] == "planned"


@pytest.mark.parametrize("name", ["toggle-feature", "FeatureToggle"])
def test_all_about_an_action_by_name_or_alias_also_when_it_is_off(
    tmp_path: Path, name: str
) -> None:
    said = remedy(tmp_path, "actions", name)
    assert said.code == 0
    assert "off: set UNLEASH_URL" in said.out
    assert re.search(r"^UNLEASH_PROJECT +default", said.out, re.MULTILINE)
    value = r"^value +text, or map of true, false, text or whole numbers$"
    assert re.search(value, said.out, re.MULTILINE)


def test_the_fields_of_a_value_are_rows_the_required_one_first(tmp_path: Path) -> None:
    said = remedy(tmp_path, "actions", "scale")
    heading, first, *_ = said.out.partition("FIELD OF THE VALUE")[2].splitlines()
    assert heading.split() == ["TYPE", "DEFAULT"]
    assert re.match(r"replicas +number or text +required +", first)
    assert '"$defs"' not in said.out


def test_all_about_an_action_as_json(tmp_path: Path) -> None:
    said = remedy(tmp_path, "actions", "toggle-feature", "--json")
    assert json.loads(said.out)["value_schema"]


def test_an_unknown_action_fails_and_names_those_there_are(tmp_path: Path) -> None:
    said = remedy(tmp_path, "actions", "nope")
    assert (said.code, said.out) == (1, "")
    assert said.mistakes == [f"remedy: there is no action 'nope'; the actions are {BUILT_IN}"]


def test_a_broken_drop_in_is_listed_as_off_with_file_line_and_reason(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import sys\nsys.exit(4)")
    said = remedy(tmp_path, "actions", REMEDY_ACTIONS_DIR=".")
    assert (said.code, said.err) == (0, "")
    (line,) = [line for line in said.out.splitlines() if line.startswith("broken.py")]
    assert "off: can't be loaded: line 2: SystemExit: 4" in line
    said = remedy(tmp_path, "actions", "--json", REMEDY_ACTIONS_DIR=".")
    *others, broken = json.loads(said.out)
    assert len(others) == len(BUILT_IN.split(", "))
    assert (broken["name"], broken["on"], broken["kind"]) == ("broken.py", False, None)


def test_a_broken_drop_in_ends_every_command_where_that_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    strict = {"REMEDY_ACTIONS_DIR": ".", "REMEDY_STRICT_ACTIONS": "true"}
    for command in (["actions"], ["try", "toggle-feature", "--value", "{}"], ["serve"]):
        said = remedy(tmp_path, *command, **strict)
        assert (said.code, len(said.mistakes)) == (2, 1)
        assert "broken.py: can't be loaded: line 1: ModuleNotFoundError" in said.err


def test_code_that_others_may_write_is_loaded_only_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = tmp_path / "drop-in"
    folder.mkdir()
    (folder / "broken.py").write_text("import nothing_of_that_name")
    folder.chmod(0o777)
    said = remedy(tmp_path, "actions", REMEDY_ACTIONS_DIR="drop-in")
    assert said.code == 2
    assert "everybody may write" in said.err
    trusting = {"REMEDY_ACTIONS_DIR": "drop-in", "REMEDY_TRUST_ACTIONS_DIR": "true"}
    said = remedy(tmp_path, "actions", **trusting)
    assert (said.code, said.err) == (0, "")
    assert "can't be loaded: line 1: ModuleNotFoundError" in said.out


@pytest.mark.parametrize("arguments", [[], ["scale"], ["toggle-feature"]], ids=" ".join)
def test_people_get_no_line_beyond_80_columns(
    monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    for module in (actions_command, terminal):
        monkeypatch.setattr(module, "is_terminal", lambda: True)
    said = CliRunner().invoke(app, ["actions", *arguments], env={"COLUMNS": "80"})
    assert said.exit_code == 0
    assert max(map(len, said.output.splitlines())) <= 80
    assert "HorizontalPodAutoscaler" in said.output or "Switch feature flags" in said.output
