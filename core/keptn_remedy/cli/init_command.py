"""`remedy init`: writes a package with an action of your own, whose tests pass as written."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template

from keptn_remedy.cli.terminal import FAILED, GOOD, WRONG_USAGE, complain, reason, say, say_folded

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TEMPLATES = Path(__file__).with_name("new_action")


def init(name: str, folder: Path | None) -> int:
    """Write the package; returns the exit code."""
    if not _NAME.fullmatch(name):
        complain([f"{name!r} is no name: use lower-case words with hyphens, such as clear-queue"])
        return WRONG_USAGE
    into = folder or Path(name)
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        complain([f"{into} is not empty; name another folder with --into"])
        return FAILED
    try:
        written = _write(name, into)
    except OSError as error:
        complain([f"can't write {reason(error)}"])
        return FAILED
    for path in written:
        say(str(path))
    say("")
    say_folded(f"Test it:  cd {into} && pip install -e '.[test]' && pytest")
    say_folded(f"Try it:   REMEDY_ACTIONS_DIR={into} remedy actions {name}")
    return GOOD


def _write(name: str, into: Path) -> list[Path]:
    module = name.replace("-", "_")
    names = {
        "name": name,
        "module": module,
        "class_name": "".join(word.capitalize() for word in name.split("-")),
        "variable": module.upper(),
    }
    into.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for template in sorted(_TEMPLATES.iterdir()):
        path = into / template.name.removesuffix(".txt").replace("module", module)
        path.write_text(Template(template.read_text("utf-8")).substitute(names), "utf-8")
        path.chmod(0o644)
        written.append(path)
    return written
