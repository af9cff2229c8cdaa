"""One word per thing: the table of words in docs/architecture.md, held against the code."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from keptn_remedy import journal

ROOT = Path(__file__).parents[2]
CORE = ROOT / "core/keptn_remedy"
PAGE = (ROOT / "docs/architecture.md").read_text("utf-8")

# One thing in two forms.
IN_TWO_FORMS = {
    "Blackout": "as the policy says it, as the calendar reckons with it",
    "Window": "as the policy says it, as the calendar reckons with it",
    "Readiness": "what is looked at, and the JSON that tells it",
    "Executions": "what the journal keeps, and the JSON of a page of them",
    "Order": "what a command asks, and the JSON that carries it",
    "Task": "as the control plane shows it, and the one that FakeKeptn keeps",
}


def rows() -> list[tuple[str, str, str]]:
    """Word, meaning and names, of each row."""
    (section,) = re.findall(r"^## Words\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)
    cells = re.findall(r"^\| (.+?) \| (.+?) \| (.*?) ?\|$", section, re.MULTILINE)
    assert cells.pop(0) == ("word", "meaning", "in code")
    return cells


def words() -> list[str]:
    return [word for cell, _, _ in rows() for word in cell.split(", ")]


def names() -> list[str]:
    return [name for _, _, cell in rows() for name in re.findall(r"`(\w+)`", cell)]


def defined(path: Path) -> Iterator[str]:
    """The public classes, functions and types of a module."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def modules_by_class() -> dict[str, list[str]]:
    """Where classes of that name are defined."""
    found = defaultdict[str, list[str]](list)
    for path in CORE.rglob("*.py"):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found[node.name].append(str(path.relative_to(CORE)))
    return found


def test_a_word_is_explained_once_and_a_name_belongs_to_one_word() -> None:
    assert len(words()) > 20
    assert [word for word, times in Counter(words()).items() if times > 1] == []
    assert [name for name, times in Counter(names()).items() if times > 1] == []


def test_what_the_words_are_called_in_code_is_there() -> None:
    there = {name for path in CORE.rglob("*.py") for name in defined(path)}
    assert [name for name in names() if name not in there] == []


def test_a_class_name_has_one_meaning() -> None:
    known = {*names(), *IN_TWO_FORMS}
    twice = {name: where for name, where in modules_by_class().items() if len(where) > 1}
    assert {name: where for name, where in twice.items() if name not in known} == {}


def test_what_the_journal_keeps_has_its_word() -> None:
    classes = {name: getattr(journal, name) for name in journal.__all__}
    kept = [
        name
        for name, cls in classes.items()
        if inspect.isclass(cls) and not issubclass(cls, Exception)
    ]
    assert set(kept) - set(names()) == set()
