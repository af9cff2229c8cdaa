"""How the commands speak: tables for people, JSON for programs, mistakes on stderr."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

GOOD, FAILED, WRONG_USAGE = 0, 1, 2
_WIDTH_OF_A_FILE = 200


def console() -> Console:
    """Standard output, wide enough for a table when it isn't a terminal."""
    return Console(width=None if sys.stdout.isatty() else _WIDTH_OF_A_FILE, highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table."""
    made = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        made.add_row(*(escape(printable(cell)) for cell in row))
    console().print(made)


def printable(value: object) -> str:
    """One line without control characters, which an event's sender could have put there."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else " " for c in text)


def say(line: str) -> None:
    """Print a line."""
    typer.echo(line)


def complain(lines: Iterable[str]) -> None:
    """Print mistakes, a line each."""
    for line in lines:
        typer.echo(f"remedy: {printable(line)}", err=True)
