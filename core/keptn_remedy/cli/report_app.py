"""The commands `remedy reports`, for `commands`: what Keptn has not acknowledged."""

from __future__ import annotations

from typing import Annotated

import typer

from keptn_remedy.cli.usage import Json, JsonLines, Limit, ServedCommand, complete

report_app = typer.Typer(
    help="Show what Keptn has not been told, and send it again.",
    no_args_is_help=True,
)


@report_app.command(name="list", cls=ServedCommand)
def reports_list(
    limit: Limit = 100,
    as_json: JsonLines = False,
) -> None:
    """List the reports that Keptn has not acknowledged.

    Parked ones come first: they were refused because of their content, and are not sent again. A
    blocked one met a proxy, an address or a token that is wrong; it is tried every 30 s. The others
    will be sent.
    """
    from keptn_remedy.cli import report_commands

    raise typer.Exit(report_commands.list_reports(limit, as_json=as_json))


@report_app.command(name="resend", cls=ServedCommand)
def reports_resend(
    execution: Annotated[
        str | None,
        typer.Argument(
            metavar="ID",
            help="Only those of this execution: its id, or the beginning of it.",
            autocompletion=complete,
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Send parked reports again.

    The running service asks Keptn first which of them it has, and sends the others. The command
    waits for the outcome.

    Exit code: 0 if Keptn took all of them, or none was parked; 1 if it refused one again, can't be
    reached, or nothing of the given execution is parked.
    """
    from keptn_remedy.cli import report_commands

    raise typer.Exit(report_commands.resend(execution, as_json=as_json))
