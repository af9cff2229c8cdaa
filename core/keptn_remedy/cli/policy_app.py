"""The commands `remedy policy`, for `commands`: checking a policy, and its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keptn_remedy.cli.usage import Command, Json

policy_app = typer.Typer(
    help="Check and explain a policy, the file that REMEDY_POLICY names.", no_args_is_help=True
)


@policy_app.command(name="schema", cls=Command)
def policy_schema() -> None:
    """Print the JSON Schema of a policy, for editors and pipelines."""
    from keptn_remedy.cli import policy_commands

    raise typer.Exit(policy_commands.schema())


@policy_app.command(name="check", cls=Command)
def policy_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The policy file, in YAML.")],
    as_json: Json = False,
) -> None:
    """Check a policy: list its mistakes, or say in words what it means.

    Exit code: 0 for a valid policy, 1 for one with mistakes, 2 if the file can't be read.
    """
    from keptn_remedy.cli import policy_commands

    raise typer.Exit(policy_commands.check(file, as_json=as_json))
