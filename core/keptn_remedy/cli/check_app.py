"""The commands that say what is wrong, or what remedies were worth, for `commands`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keptn_remedy.cli.usage import (
    Command,
    Json,
    JsonLines,
    ServedCommand,
    one_of,
    whole_number,
)

check_app = typer.Typer()


@check_app.command(cls=Command)
def doctor(
    namespace: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A namespace in which actions are to act; may be given several times.",
        ),
    ] = None,
    standalone: Annotated[
        bool,
        typer.Option("--standalone", help="Look at what `remedy serve --standalone` needs."),
    ] = False,
    as_json: JsonLines = False,
) -> None:
    """Look for what keeps the provider from working.

    It looks at the running service, journal, policy, clock, the way to Keptn or the sources of
    standalone mode, and the peers and rights of the actions that are on. It changes nothing.

    Exit code: 0 if nothing is wrong, 1 if something is, 2 for wrong settings.
    """
    from keptn_remedy.cli.doctor import command

    raise typer.Exit(command.examine(namespace or (), as_json=as_json, is_standalone=standalone))


@check_app.command(cls=Command)
def lint(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE",
            help="remediation.yaml files, and shipyard.yaml files and Prometheus' "
            "rule files if you like.",
        ),
    ],
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Check this policy, too.")
    ] = None,
    form: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="text, json, github (annotations) or sarif.",
            parser=one_of("--format", "text", "json", "github", "sarif"),
        ),
    ] = "text",
    as_json: JsonLines = False,
) -> None:
    """Check the files from which Keptn takes remediations.

    Each line has file, line, column, level and rule. An action that is unknown here, or a value
    that doesn't fit it, is an error; an action that is only off here is a warning.

    Exit code: 0 without errors, 1 with errors, 2 if a file can't be read.
    """
    from keptn_remedy.cli.lint import command

    raise typer.Exit(command.lint(files, policy, "json" if as_json else form))


@check_app.command(cls=Command)
def judge(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A remediation.yaml.")],
    at: Annotated[
        str,
        typer.Option("--at", metavar="TIME", help="As it was then, such as 2026-03-02T14:03:20Z."),
    ] = "",
    alert: Annotated[
        str,
        typer.Option("--alert", metavar="NAME", help="The alert, where problemType is no alert."),
    ] = "",
    place: Annotated[
        str,
        typer.Option(
            "--place",
            metavar="PROJECT/STAGE/SERVICE",
            help="Whose slo.yaml counts, where the folders of FILE don't say it.",
        ),
    ] = "",
    as_json: Json = False,
) -> None:
    """Show what the judge says of each action, and why.

    It asks the Prometheus that REMEDY_SOURCES names. Nothing is changed.

    Exit code: 0 if it can tell of each, 1 if it can't, 2 for wrong usage.
    """
    from keptn_remedy.cli import judge_command

    raise typer.Exit(judge_command.judge(file, at, alert, place, as_json=as_json))


@check_app.command(cls=ServedCommand)
def score(
    days: Annotated[
        int,
        typer.Option(
            "--days",
            metavar="N",
            help="Count those of the last N days.",
            parser=whole_number("--days", 1, 3650),
        ),
    ] = 30,
    as_json: Json = False,
) -> None:
    """Show how often remedies without Keptn helped.

    Those under a rule with mode: dry-run are counted apart: how often they would have acted, and
    how often the problem went away by itself.
    """
    from keptn_remedy.cli import score_command

    raise typer.Exit(score_command.score(days, as_json=as_json))
