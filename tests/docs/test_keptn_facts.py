"""What docs/keptn.md says of Keptn can be referred to: marks lead to facts, facts to sources."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/keptn.md"
TEXT = PAGE.read_text("utf-8")
IDS = re.findall(r'<a id="([^"]*)"', TEXT)
# A fact goes on to the next one, or to the next heading.
FACTS = re.findall(
    r'^<a id="(k\d+)"></a>(.*?)(?=^<a id=|^#|\Z)', TEXT, flags=re.DOTALL | re.MULTILINE
)
# What others wrote, and what is made here; so is all that begins with a dot, except .ci.
LEFT_OUT = {"findings", "node_modules", "__pycache__", "var"}


def _files() -> Iterator[tuple[str, str]]:
    """Each file of the repository, with its text."""
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [f for f in folders if f == ".ci" or (f[0] != "." and f not in LEFT_OUT)]
        for path in (Path(folder, name) for name in names):
            yield str(path.relative_to(ROOT)), path.read_bytes().decode("utf-8", "ignore")


def _found(pattern: str) -> list[tuple[str, str]]:
    """What the pattern's group matches, with the file that holds it."""
    return [(file, text) for file, whole in _files() for text in re.findall(pattern, whole)]


def test_every_mark_leads_to_a_fact() -> None:
    marks = _found(r"keptn\.md#([\w-]*)")
    marks += [("docs/keptn.md", mark) for mark in re.findall(r"\]\(#(k\d[\w-]*)\)", TEXT)]
    assert [mark for mark in marks if mark[1] not in IDS] == []


def test_a_link_to_a_fact_shows_its_number() -> None:
    links = re.findall(r"\[K(\d+)\]\(\S*#k(\d+)\)", "\n".join(text for _, text in _files()))
    assert [link for link in links if link[0] != link[1]] == []


def test_facts_are_numbered_from_1_without_gaps_and_each_number_once() -> None:
    assert Counter(IDS) == Counter(f"k{number}" for number in range(1, len(IDS) + 1))


def test_a_fact_begins_with_its_number() -> None:
    assert [id_ for id_, fact in FACTS if not fact.startswith(f"**{id_.upper()}. ")] == []
    assert len(FACTS) == len(IDS)


def test_every_fact_ends_with_a_release_of_keptn_and_a_file() -> None:
    source = re.compile(r"^\[Keptn \d[^\]]*`[\w./-]+\.\w+`[^\]]*\]\Z", re.MULTILINE)
    assert [id_ for id_, fact in FACTS if not source.search(fact.rstrip())] == []


def test_nothing_refers_to_pages_that_the_repository_lacks() -> None:
    assert _found(r"\b((?:contract|design)(?: §| E\d|\.md).*)") == []
