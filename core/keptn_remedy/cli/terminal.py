"""How commands print: text for people, JSON for programs, mistakes on standard error."""

from __future__ import annotations

import json
import shutil
import signal
import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
import typer

from keptn_remedy.cli.usage import AS_JSON

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text
    from structlog.typing import EventDict, WrappedLogger

GOOD, FAILED, WRONG_USAGE = 0, 1, 2
NAME = "remedy: "
_BELOW = " " * 4
_COLOURS = {"pass": "green", "on": "green", "warning": "yellow", "fail": "red", "errored": "red"}


def is_terminal() -> bool:
    """Whether standard output is a terminal: people read it."""
    return sys.stdout.isatty()


def console() -> Console:
    """Standard output, for colours and tables."""
    from rich.console import Console  # a service that logs JSON does without

    return Console(highlight=False)


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table: folded into a terminal's width, or one line per row for programs."""
    cells = [[printable(cell) for cell in row] for row in rows]
    if not is_terminal():
        _print_aligned([columns, *cells] if any(columns) else cells)
        return
    from rich.table import Table

    made = Table(*columns, box=None, pad_edge=False, header_style="bold", show_header=any(columns))
    for row in cells:
        made.add_row(*map(coloured, row))
    console().print(made)


def paragraphs(
    columns: Sequence[str], entries: Iterable[tuple[Sequence[object], Sequence[str | None]]]
) -> None:
    """Print for people what is too wide for a table: a line of short cells for each entry, and its
    texts folded below.
    """
    shown = [([printable(cell) for cell in cells], texts) for cells, texts in entries]
    widths = [max(map(len, column)) for column in zip(columns, *(c for c, _ in shown), strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return "  ".join(padded).rstrip()

    console().print(line(columns), style="bold", markup=False, soft_wrap=True)
    for cells, texts in shown:
        say(line(cells))
        for text in filter(None, texts):
            say(folded(text, _BELOW, _BELOW))


def _print_aligned(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say("  ".join(padded).rstrip())


def coloured(text: str, word: str = "") -> Text:
    """The text in the colour of an outcome or a state; the text's first word if none is given."""
    from rich.text import Text

    return Text(
        printable(text), style=_COLOURS.get(word or text.partition(":")[0], ""), overflow="fold"
    )


def printable(value: object) -> str:
    """One line without control characters, which an event's sender could have put there."""
    text = "" if value is None else str(value)
    return "".join(c if c.isprintable() else " " for c in text)


def when(moment: datetime) -> str:
    """A moment in UTC, in the form that settings and the API take."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def ago(moment: datetime) -> str:
    """How long ago a moment was."""
    seconds = max(0, int((datetime.now(UTC) - moment).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def clean_up_on_interrupt() -> None:
    """From here on Ctrl-C raises KeyboardInterrupt."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def say(text: str) -> None:
    """Print it, in lines of which none steers the terminal."""
    typer.echo("\n".join(map(printable, text.split("\n"))))


def say_folded(text: str, first: str = "", rest: str = "") -> None:
    """Print a paragraph: folded into a terminal's width, or one line for programs. `first` goes
    before its first line, `rest` before the others.
    """
    say(folded(text, first, rest) if is_terminal() else first + printable(text))


def folded(text: str, first: str = "", rest: str = "") -> str:
    """A paragraph in a terminal's width. Words stay whole, so that ids and paths can be copied."""
    return textwrap.fill(
        printable(text),
        shutil.get_terminal_size().columns,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def say_json(value: Any) -> None:
    """Print a value as one line of JSON."""
    say(_escaped(_json(value)))


def show_json(value: Any) -> None:
    """Print a value as indented JSON."""
    lines = _json(value, orjson.OPT_INDENT_2).split("\n")
    text = "\n".join(map(_escaped, lines))
    if is_terminal():
        from rich.highlighter import JSONHighlighter

        console().print(JSONHighlighter()(text), soft_wrap=True)
    else:
        say(text)


def complain(lines: Iterable[str]) -> None:
    """Print mistakes on standard error: a line each, folded into a terminal's width; with `--json`
    an object each.
    """
    for line in lines:
        if AS_JSON.get():
            typer.echo(_escaped(_json({"error": line})), err=True)
        elif sys.stderr.isatty():
            typer.echo(folded(line, NAME, " " * len(NAME)), err=True)
        else:
            typer.echo(NAME + printable(line), err=True)


def leave_summaries_out() -> None:
    """Drop the log lines that repeat outcomes, where the outcomes themselves are shown."""
    import structlog

    def drop(_: WrappedLogger, __: str, line: EventDict) -> EventDict:
        if line["event"] == "execution finished":
            raise structlog.DropEvent
        return line

    structlog.get_config()["processors"].insert(0, drop)  # loggers that are in use share the list


def reason(error: OSError) -> str:
    """What the operating system said: the file, if it named one, and the error without number."""
    said = error.strerror or str(error) or "the system gave no reason"
    return f"{error.filename}: {said}" if error.filename else said


def _json(value: Any, option: int = 0) -> str:
    option |= orjson.OPT_NON_STR_KEYS
    return orjson.dumps(value, default=str, option=option).decode()


def _escaped(text: str) -> str:
    """JSON in which nothing steers the terminal."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)
