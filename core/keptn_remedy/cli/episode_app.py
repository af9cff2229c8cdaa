"""The commands `remedy episodes`, for `commands`: the problems of standalone mode."""

from __future__ import annotations

from typing import Annotated

import typer

from keptn_remedy.cli.usage import Json, JsonLines, Limit, ServedCommand

episode_app = typer.Typer(
    help="Show the problems that came without Keptn, and what was tried.", no_args_is_help=True
)


def _complete(incomplete: str) -> list[str]:
    from keptn_remedy.cli.episode_commands import completed

    return completed(incomplete)


@episode_app.command(name="list", cls=ServedCommand)
def episodes_list(
    is_open: Annotated[bool, typer.Option("--open", help="Only those that are open.")] = False,
    ignored: Annotated[
        bool, typer.Option("--ignored", help="Alerts that opened no episode, and why.")
    ] = False,
    limit: Limit = 20,
    as_json: JsonLines = False,
) -> None:
    """List the newest episodes."""
    from keptn_remedy.cli import episode_commands

    if ignored:
        raise typer.Exit(episode_commands.list_ignored(limit, as_json=as_json))
    raise typer.Exit(episode_commands.list_episodes(limit, is_open=is_open, as_json=as_json))


@episode_app.command(name="show", cls=ServedCommand)
def episodes_show(
    episode: Annotated[
        str,
        typer.Argument(
            metavar="ID",
            help="The episode's id, or the beginning of it.",
            autocompletion=_complete,
        ),
    ],
    as_json: Json = False,
) -> None:
    """Show one episode: alerts, tries, verdicts with numbers, history.

    Exit code: 0 if there is such an episode, 1 if there is none.
    """
    from keptn_remedy.cli import episode_commands

    raise typer.Exit(episode_commands.show_episode(episode, as_json=as_json))
