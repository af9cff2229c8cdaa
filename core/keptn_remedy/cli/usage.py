"""How typer shows the commands: plain argument names, mistakes without Python's words; and the
options that several have.
"""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperGroup, TyperOption

# `-h` is understood by every command.
CONTEXT = {"help_option_names": ["-h", "--help"]}
AS_JSON: ContextVar[bool] = ContextVar("as_json", default=False)
"""Whether this command prints its mistakes as JSON, too."""
_MISTAKE = "Error: "
_AFTER_THE_COMMAND = ("--json", "--server", "--token-file")
_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def _note_json(*, value: bool) -> bool:
    AS_JSON.set(value)
    return value


def complete(incomplete: str) -> list[str]:
    """The ids that a shell offers."""
    from keptn_remedy.cli.execution_ids import completed

    return completed(incomplete)


Json = Annotated[bool, typer.Option("--json", help="Print JSON.", callback=_note_json)]
JsonLines = Annotated[
    bool, typer.Option("--json", help="Print one JSON object per line.", callback=_note_json)
]
ExecutionId = Annotated[
    str,
    typer.Argument(
        metavar="ID",
        help="The execution: its id, or 4 characters and more of its beginning; @last for the "
        "newest, @waiting for the only one that waits for approval.",
        autocompletion=complete,
    ),
]
Reason = Annotated[
    str, typer.Option(metavar="TEXT", help="Why; stored, and shown with the execution.")
]


class WrongUsage(typer.BadParameter):
    """A mistake in the arguments, said in these words alone; the exit code is 2."""

    def format_message(self) -> str:
        return self.message


class Command(TyperCommand):
    """A command whose help shows an argument as `ID`, not as `{ID}` and `ID <str> [required]`. Each
    takes `--json`, if only for its mistakes.
    """

    def __init__(self, *args: Any, params: list[Any] | None = None, **options: Any) -> None:
        params = list(params or [])
        if not any("--json" in each.opts for each in params):
            params += _options_of(_with_json_mistakes)
        super().__init__(*args, params=params, **options)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces = super().collect_usage_pieces(ctx)
        return [piece.replace("{", "").replace("}", "") for piece in pieces]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        params = self.get_params(ctx)
        arguments = [(p.metavar, p.help) for p in params if isinstance(p, TyperArgument)]
        options = [p.get_help_record(ctx) for p in params if isinstance(p, TyperOption)]
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


class ServedCommand(Command):
    """A command that reads or orders: from a journal, or from the service that `--server` names."""

    def __init__(self, *args: Any, params: list[Any] | None = None, **options: Any) -> None:
        super().__init__(*args, params=[*(params or []), *_options_of(_with_a_server)], **options)


class Group(TyperGroup):
    """All commands. Usage errors are folded into a terminal's width, or JSON with `--json`."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **options: Any) -> Any:
        given = sys.argv[1:] if args is None else args
        if not options.get("standalone_mode", True):
            return super().main(args, *others, **options)
        try:
            code = super().main(args, *others, **{**options, "standalone_mode": False})
        except typer.TyperException as error:
            _tell(error, as_json="--json" in given)
            code = error.exit_code
        sys.exit(code or 0)


def _tell(error: typer.TyperException, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"error": error.format_message()}), err=True)
        return
    from keptn_remedy.cli.terminal import folded

    shown = io.StringIO()
    # Those about usage show how it is used, too.
    show: Any = getattr(error, "show", None)
    if show:
        show(shown)
    else:
        shown.write(f"{_MISTAKE}{error.format_message()}")
    said, mark, mistake = shown.getvalue().rstrip("\n").rpartition(_MISTAKE)
    if isinstance(getattr(getattr(error, "ctx", None), "command", None), Group) and (
        getattr(error, "option_name", "") in _AFTER_THE_COMMAND
    ):
        mistake += "; it stands after the command"
    if mark and sys.stderr.isatty():
        mistake = folded(mistake, mark, " " * len(mark)).removeprefix(mark)
    typer.echo(said + mark + mistake, err=True)


def _choose(context: typer.Context, parameter: typer.CallbackParam, value: str | None) -> None:
    from keptn_remedy.cli import server

    if value and not context.resilient_parsing:
        server.choose("REMEDY_" + str(parameter.name).upper(), value)


_Server = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Ask the running service on its ops port, and not the journal (REMEDY_SERVER).",
        callback=_choose,
        expose_value=False,
    ),
]
_TokenFile = Annotated[
    str | None,
    typer.Option(
        metavar="FILE",
        help="The file with the token for that service (REMEDY_TOKEN_FILE).",
        callback=_choose,
        expose_value=False,
    ),
]


def _with_a_server(server: _Server = None, token_file: _TokenFile = None) -> None:
    """What typer makes the two options of."""


_JsonMistakes = Annotated[
    bool,
    typer.Option("--json", help="Print mistakes as JSON.", callback=_note_json, expose_value=False),
]


def _with_json_mistakes(as_json: _JsonMistakes = False) -> None:
    """What typer makes the option of."""


@cache
def _options_of(declaring: Callable[..., None]) -> tuple[Any, ...]:
    """The same for all commands: to make them takes time, and --help waits for it."""
    declared = typer.Typer(add_completion=False)
    declared.command()(declaring)
    return tuple(typer.main.get_command(declared).params)


def moment(option: str) -> Any:
    """A parser of an option that takes a time, or how long ago it was; returns Unix seconds."""

    def parse(value: str | float) -> float:
        if not isinstance(value, str):
            return value
        now = datetime.now(UTC).timestamp()
        if re.fullmatch(r"(\d{1,6}[dhms])+", value):
            parts = re.findall(r"(\d+)([dhms])", value)
            return now - sum(int(number) * _UNITS[unit] for number, unit in parts)
        try:
            found = datetime.fromisoformat(value)
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            example = "2h, 30m, 2026-03-02 or 2026-03-02T14:00Z"
            raise WrongUsage(f"{option} takes a duration or a time in UTC: {example}") from None

    return parse


def one_of(option: str, *choices: str) -> Any:
    """A parser of an option that takes one of these words."""

    def parse(value: str) -> str:
        if value not in choices:
            raise WrongUsage(f"{option} takes {', '.join(choices[:-1])} or {choices[-1]}")
        return value

    return parse


def whole_number(option: str, least: int, most: int) -> Any:
    """A parser of an option that takes a whole number within these bounds."""

    def parse(value: str | int) -> int:
        try:
            number = int(value)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise WrongUsage(f"{option} takes a whole number from {least} to {most}")
        return number

    return parse


Limit = Annotated[
    int,
    typer.Option(
        metavar="N",
        help="At most this many, up to 100000.",
        parser=whole_number("--limit", 1, 100_000),
    ),
]
