"""How typer shows the commands: plain argument names, mistakes without Python's words; and the
options that several have.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperArgument, TyperCommand, TyperOption

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
ExecutionId = Annotated[
    str, typer.Argument(metavar="ID", help="The execution's id, from remedy journal list.")
]
Reason = Annotated[
    str, typer.Option(metavar="TEXT", help="Why; stored, and shown with the execution.")
]


class WrongUsage(typer.BadParameter):
    """A mistake in the arguments, said in these words alone; the exit code is 2."""

    def format_message(self) -> str:
        return self.message


class Command(TyperCommand):
    """A command whose help shows an argument as `ID`, not as `{ID}` and `ID <str> [required]`."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        params = self.get_params(ctx)
        arguments = [(p.metavar, p.help) for p in params if isinstance(p, TyperArgument)]
        options = [p.get_help_record(ctx) for p in params if isinstance(p, TyperOption)]
        for title, rows in (("Arguments", arguments), ("Options", options)):
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)


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
