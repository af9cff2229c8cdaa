"""The commands `remedy notify`, for `commands`: channels checked, and tried."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keptn_remedy.cli.usage import Command, Json

notify_app = typer.Typer(
    help="Check and try the channels on which people are told.", no_args_is_help=True
)


@notify_app.command(name="test", cls=Command)
def notify_test(
    channel: Annotated[
        str | None, typer.Argument(metavar="CHANNEL", help="Only this one of the channels file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Send a harmless trial to the channels of REMEDY_CHANNELS.

    Their real addresses and secrets are used. No service need run. On PagerDuty and Alertmanager
    the trial is ended at once.

    Exit code: 0 if each channel took it; 1 if one did not; 2 if the settings hold a mistake or
    there is no such channel.
    """
    from keptn_remedy.cli import notify_commands

    raise typer.Exit(notify_commands.test(channel, as_json=as_json))


@notify_app.command(name="check", cls=Command)
def notify_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The channels file, in YAML.")],
    as_json: Json = False,
) -> None:
    """Check a channels file: list its mistakes, or the channels. Sends nothing.

    Exit code: 0 for a valid file, 1 for one with mistakes, 2 if it can't be read.
    """
    from keptn_remedy.cli import notify_commands

    raise typer.Exit(notify_commands.check(file, as_json=as_json))


@notify_app.command(name="schema", cls=Command)
def notify_schema() -> None:
    """Print the JSON Schema of a channels file, for editors."""
    from keptn_remedy.cli import notify_commands

    raise typer.Exit(notify_commands.schema())
