"""`remedy operators`: who may sign in on the page."""

from __future__ import annotations

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from keptn_remedy.cli.commands import app
from keptn_remedy.cli.operators_commands import add
from keptn_remedy.ops import operators
from keptn_remedy.support.variables import SettingsError


def run(path: Path, *arguments: str) -> Any:
    return CliRunner().invoke(
        app, ["operators", *arguments], env={"REMEDY_OPERATORS_FILE": str(path)}
    )


def test_a_person_is_added_and_the_token_shown_once(tmp_path: Path) -> None:
    path = tmp_path / "operators.yaml"
    said = run(path, "add", "anna", "--role", "approver")
    assert said.exit_code == 0
    token = said.stdout.splitlines()[-1]
    (anna,) = operators.read(path)
    assert (anna.name, anna.role) == ("anna", "approver")
    assert anna.token_sha256 == operators.hashed(token)
    assert len(token) >= 43
    assert token not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [it.name for it in tmp_path.iterdir()] == ["operators.yaml"]


def test_a_known_person_keeps_the_token_unless_a_new_one_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "operators.yaml"
    run(path, "add", "anna", "--role", "viewer")
    before = path.read_text()
    again = run(path, "add", "anna", "--role", "operator")
    assert (again.exit_code, path.read_text()) == (1, before)
    assert "--new-token" in again.stderr
    said = run(path, "add", "anna", "--role", "operator", "--new-token", "--json")
    told = json.loads(said.stdout)
    (anna,) = operators.read(path)
    assert (anna.role, anna.token_sha256) == ("operator", operators.hashed(told["token"]))


def test_people_are_listed_and_removed(tmp_path: Path) -> None:
    path = tmp_path / "operators.yaml"
    for name, role in (("anna", "viewer"), ("ben", "approver")):
        run(path, "add", name, "--role", role)
    told = [json.loads(line) for line in run(path, "list", "--json").stdout.splitlines()]
    assert told == [{"name": "anna", "role": "viewer"}, {"name": "ben", "role": "approver"}]
    assert run(path, "remove", "anna").exit_code == 0
    assert run(path, "remove", "anna").exit_code == 1
    assert [it.name for it in operators.read(path)] == ["ben"]


def test_people_who_are_added_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "operators.yaml"
    names = [f"person-{number}" for number in range(8)]
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: add(name, "viewer", path, new_token=False, as_json=True), names))
    assert sorted(it.name for it in operators.read(path)) == names


def test_a_file_that_others_may_read_stays_so_and_a_link_stays_a_link(tmp_path: Path) -> None:
    path, link = tmp_path / "real.yaml", tmp_path / "operators.yaml"
    run(path, "add", "anna", "--role", "viewer")
    path.chmod(0o640)
    link.symlink_to(path)
    assert run(link, "add", "ben", "--role", "viewer").exit_code == 0
    assert (link.is_symlink(), stat.S_IMODE(path.stat().st_mode)) == (True, 0o640)
    assert [it.name for it in operators.read(path)] == ["anna", "ben"]


@pytest.mark.parametrize("name", ["", "a b", "<b>", "x" * 65, "-x"])
def test_a_name_is_a_plain_word(tmp_path: Path, name: str) -> None:
    said = run(tmp_path / "o.yaml", "add", "--role", "viewer", "--", name)
    assert said.exit_code == 2
    assert not (tmp_path / "o.yaml").exists()


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("operators: [{name: anna, role: boss, token_sha256: x}]", "line 1: operators.0.role"),
        ("operators:\n- name: anna\n  role: viewer\n", "line 2: operators.0.token_sha256"),
        ("operators: [", "it isn't YAML"),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(
    tmp_path: Path, text: str, mistake: str
) -> None:
    path = tmp_path / "operators.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"operators\.yaml") as raised:
        operators.read(path)
    assert any(mistake in it for it in raised.value.mistakes)
    assert run(path, "add", "ben", "--role", "viewer").exit_code == 2
    assert path.read_text() == text
