"""What the documents show is true: snippets, links, commands and the event to send."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from bench.page import pages as quoting
from keptn_remedy import events
from keptn_remedy.cli.commands import app
from keptn_remedy.cli.serve_command import LOCAL

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "examples")
    for path in folder.glob("*.md" if folder == ROOT else "**/*.md")
]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def commands(text: str) -> Iterator[list[str]]:
    """The words behind each `remedy`, in blocks of commands and in single ones."""
    shown = [line for block in blocks(text, "sh") for line in block.splitlines()]
    shown += re.findall(r"`([^`\n]+)`", text)
    for line in shown:
        if found := re.match(r"\s*(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?remedy ([a-z ]+)", line):
            yield found[1].split()


def test_the_action_of_the_readme_is_the_example() -> None:
    source = (ROOT / "examples/purge_cache/purge_cache.py").read_text("utf-8")
    docstring = ast.get_docstring(ast.parse(source), clean=False)
    assert blocks(README, "python") == [source.removeprefix(f'"""{docstring}"""\n\n')]


@each_page
def test_what_a_page_links_to_exists(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


@each_page
def test_the_commands_of_a_page_exist(page: Path) -> None:
    for words in commands(page.read_text("utf-8")):
        command: Any = typer.main.get_command(app)
        while words and (subcommands := getattr(command, "commands", None)):
            word = words.pop(0)
            assert word in subcommands, f"remedy has no command {word!r}"
            command = subcommands[word]


def test_the_event_of_the_readme_is_a_trigger() -> None:
    (body,) = re.findall(r"-d '(\{.*?\})'\n", README, re.DOTALL)
    trigger = events.stored_trigger(body.encode())
    assert (trigger.action, trigger.value) == ("toggle-feature", {"PromotionCampaign": "on"})
    assert f"remedy journal show {trigger.id}" in README
    assert f"/api/executions/{trigger.id}" in README


def test_the_readme_names_the_journal_and_the_flags_of_local_mode() -> None:
    assert f"REMEDY_JOURNAL={LOCAL['REMEDY_JOURNAL']} " in README
    assert f"`{LOCAL['FLAGD_FILE']}`" in README


def test_the_snippets_for_authors_compile() -> None:
    snippets = blocks((ROOT / "docs/writing-an-action.md").read_text("utf-8"), "python")
    assert len(snippets) >= 2
    for snippet in snippets:
        compile(snippet, "docs/writing-an-action.md", "exec")


@each_page
def test_the_snippets_of_a_page_can_be_read(page: Path) -> None:
    text = page.read_text("utf-8")
    for snippet in blocks(text, "python"):
        compile(snippet, str(page), "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for snippet in blocks(text, "yaml"):
        list(yaml.safe_load_all(snippet))
    for snippet in blocks(text, "json"):
        json.loads(snippet)


def test_the_architecture_names_each_module() -> None:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    modules = {path.stem for path in (ROOT / "core/keptn_remedy").glob("[!_]*") if path.is_dir()}
    modules |= {path.stem for path in (ROOT / "core/keptn_remedy").glob("[!_]*.py")}
    assert {name for name in modules if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("page", quoting(), ids=lambda path: path.name)
def test_a_page_quotes_the_figures_that_the_bench_printed(page: Path) -> None:
    assert page.read_text("utf-8") == quoting()[page], "run .venv/bin/python -m bench.page"


def test_the_tests_that_the_page_on_reliability_names_exist() -> None:
    page = (ROOT / "docs/reliability.md").read_text("utf-8")
    named = re.findall(r"\[(\w+)\]\(\.\./(tests/[\w/]+\.py)\)", page)
    assert len(named) == page.count("](")
    for name, file in named:
        assert f"def test_{name}(" in (ROOT / file).read_text("utf-8"), name
