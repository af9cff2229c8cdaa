"""`remedy init`: the package that it writes works as written."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.commands import clean, remedy
from tests.ordering import say

ROOT = Path(__file__).parents[3]


def test_the_tests_of_a_new_package_pass(tmp_path: Path) -> None:
    said = remedy(tmp_path, "init", "clear-queue")
    assert said.code == 0
    package = tmp_path / "clear-queue"
    assert {path.name for path in package.iterdir()} == {
        "README.md",
        "clear_queue.py",
        "pyproject.toml",
        "test_clear_queue.py",
    }
    path = os.pathsep.join((str(ROOT / "core"), str(ROOT / "actions")))
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=package,
        env=clean(tmp_path, {"PYTHONPATH": path}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout


async def test_the_action_of_a_new_package_is_found(tmp_path: Path) -> None:
    await say(tmp_path, "init", "clear-queue", "--into", "mine")
    given = {"REMEDY_ACTIONS_DIR": "mine", "CLEAR_QUEUE_URL": "http://queue.example/"}
    said = await say(tmp_path, "actions", "clear-queue", **given)
    assert said.code == 0
    assert "  on\n" in said.out
    project = tomllib.loads((tmp_path / "mine" / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["entry-points"]["keptn_remedy.actions"] == {
        "clear-queue": "clear_queue:ClearQueue"
    }


@pytest.mark.parametrize("name", ["Clear", "clear_queue", "1st", "a b", "../x", "-x"])
async def test_what_is_no_name_is_refused(tmp_path: Path, name: str) -> None:
    said = await say(tmp_path, "init", "--", name)
    assert said.code == 2
    assert "is no name" in said.err


async def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kept").write_text("x")
    said = await say(tmp_path, "init", "mine")
    assert (said.code, len(list((tmp_path / "mine").iterdir()))) == (1, 1)
