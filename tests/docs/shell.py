"""Blocks of shell commands in the documents, taken apart."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    path
    for folder in (ROOT, ROOT / "docs", ROOT / "examples")
    for path in sorted(folder.glob("*.md" if folder == ROOT else "**/*.md"))
]
_SEPARATORS = {"&&", "&", "|", ";"}


@dataclass(frozen=True)
class Line:
    """One simple command: its words, the variables before them, and the file that is read or
    written. `after` is what stands before it: `&&`, `|`, or nothing.
    """

    words: tuple[str, ...]
    variables: dict[str, str]
    reads: str = ""
    writes: str = ""
    after: str = ""


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def lines(block: str) -> Iterator[Line]:
    """The simple commands of a block, in order."""
    pending = ""
    for each in block.splitlines():
        pending += each
        if pending.endswith("\\"):
            pending = pending[:-1] + " "
            continue
        try:
            words = _words(pending)
        except ValueError:  # a quotation goes on in the next line
            pending += "\n"
            continue
        pending = ""
        yield from _commands(words)
    assert not pending.strip(), f"a quotation has no end: {pending}"


def _words(text: str) -> list[str]:
    # `$(…)` is one word of ours; what it prints matters to no test.
    text = re.sub(r'"?\$\([^)]*\)"?', "made-up", text)
    reader = shlex.shlex(text, posix=True, punctuation_chars="&|;<>")
    reader.whitespace_split, reader.commenters = True, "#"
    return list(reader)


def _commands(words: list[str]) -> Iterator[Line]:
    begin, after = 0, ""
    for place, word in enumerate([*words, ";"]):
        if word in _SEPARATORS:
            if simple := words[begin:place]:
                yield _command(simple, after)
            begin, after = place + 1, word


def _command(words: list[str], after: str) -> Line:
    variables, kept, streams = dict[str, str](), list[str](), {"<": "", ">": ""}
    rest = iter(words)
    for word in rest:
        if word in streams:
            streams[word] = next(rest)
        elif not kept and re.fullmatch(r"[A-Z_]+=.*", word, re.DOTALL):
            name, _, value = word.partition("=")
            variables[name] = value
        else:
            kept.append(word)
    return Line(tuple(kept), variables, streams["<"], streams[">"], after)


def inline(text: str) -> Iterator[tuple[str, ...]]:
    """The words of each `remedy …` in running text, as far as they stand there."""
    for shown in re.findall(r"`((?:\.venv/bin/)?remedy [^`\n]+)`", text):
        if "…" not in shown:
            yield tuple(shlex.split(shown.removeprefix(".venv/bin/")))
