"""The commands `remedy operators`, for `commands`: who may sign in on the page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keptn_remedy.cli.usage import Command, Json, JsonLines, one_of

operators_app = typer.Typer(
    help="Manage who may sign in on the page.",
    no_args_is_help=True,
)
File = Annotated[
    Path | None,
    typer.Option("--file", metavar="FILE", help="The file. Default: REMEDY_OPERATORS_FILE."),
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="A person, such as anna@example.org.")]


@operators_app.command(name="add", cls=Command)
def operators_add(
    name: Name,
    role: Annotated[
        str,
        typer.Option(
            metavar="ROLE",
            help="viewer sees; approver also approves and denies; operator also pauses, undoes.",
            parser=one_of("--role", "viewer", "approver", "operator"),
        ),
    ],
    new_token: Annotated[
        bool, typer.Option("--new-token", help="Give a known person a new token, and this role.")
    ] = False,
    file: File = None,
    as_json: Json = False,
) -> None:
    """Add a person, and print the token, once.

    The file holds only a hash of the token. It is made if there is none, and written whole or not
    at all. A running service knows the person within a second.

    Exit code: 0 if the file was written; 1 if the person is in it already, or it can't be written;
    2 for wrong usage, or a file with mistakes.
    """
    from keptn_remedy.cli import operators_commands

    raise typer.Exit(operators_commands.add(name, role, file, new_token=new_token, as_json=as_json))


@operators_app.command(name="list", cls=Command)
def operators_list(file: File = None, as_json: JsonLines = False) -> None:
    """List the people in the file, and their roles."""
    from keptn_remedy.cli import operators_commands

    raise typer.Exit(operators_commands.list_all(file, as_json=as_json))


@operators_app.command(name="remove", cls=Command)
def operators_remove(name: Name, file: File = None) -> None:
    """Remove a person. Their sessions end within a second."""
    from keptn_remedy.cli import operators_commands

    raise typer.Exit(operators_commands.remove(name, file))
