"""The commands `remedy sources`, for `commands`: checking sources.yaml, and its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keptn_remedy.cli.usage import Command, Json

sources_app = typer.Typer(
    help="Check and explain the file that REMEDY_SOURCES names.",
    no_args_is_help=True,
)


@sources_app.command(name="schema", cls=Command)
def sources_schema() -> None:
    """Print the JSON Schema of sources.yaml, for editors and pipelines."""
    from keptn_remedy.cli import sources_commands

    raise typer.Exit(sources_commands.schema())


@sources_app.command(name="check", cls=Command)
def sources_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The sources, in YAML.")],
    remediations: Annotated[
        Path | None,
        typer.Option(
            "--remediations",
            metavar="FOLDER",
            help="Check the remedies too: each remediation.yaml below this folder.",
        ),
    ] = None,
    rules: Annotated[
        list[Path] | None,
        typer.Option(
            "--rules",
            metavar="PATH",
            help="Compare the remedies with Prometheus' rules: a file or folder; repeatable.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check sources.yaml: list its mistakes, or say what it means.

    Exit code: 0 for valid files, 1 for mistakes, 2 if the file can't be read.
    """
    from keptn_remedy.cli import sources_commands

    raise typer.Exit(sources_commands.check(file, remediations, rules or (), as_json=as_json))
