"""The commands `remedy journal`, for `commands`: executions, and copies of the journal."""

from __future__ import annotations

from typing import Annotated, Literal, cast

import typer

from keptn_remedy.cli.usage import (
    Command,
    ExecutionId,
    Json,
    JsonLines,
    Limit,
    ServedCommand,
    WrongUsage,
    moment,
    one_of,
)

State = Literal["accepted", "started", "finished"]

journal_app = typer.Typer(
    help="Read, back up and restore the journal of executions.", no_args_is_help=True
)


@journal_app.command(name="list", cls=ServedCommand)
def journal_list(
    state: Annotated[
        str | None,
        typer.Option(
            metavar="STATE",
            help="Only executions in this state: accepted, started or finished.",
            parser=one_of("--state", "accepted", "started", "finished"),
        ),
    ] = None,
    project: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this project.")
    ] = None,
    stage: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this stage.")] = None,
    service: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only of this service.")
    ] = None,
    action: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this action.")] = None,
    result: Annotated[
        str | None,
        typer.Option(
            metavar="RESULT",
            help="Only with this result or status: pass, warning, fail, errored or aborted.",
            parser=one_of("--result", "pass", "warning", "fail", "errored", "aborted"),
        ),
    ] = None,
    context: Annotated[
        str | None, typer.Option(metavar="ID", help="Only of this Keptn context.")
    ] = None,
    since: Annotated[
        float | None,
        typer.Option(
            metavar="WHEN",
            help="Only accepted since then: 2h, 30m, or a time in UTC.",
            parser=moment("--since"),
        ),
    ] = None,
    limit: Limit = 20,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only executions that wait, and for what.")
    ] = False,
    as_json: JsonLines = False,
) -> None:
    """List the newest executions.

    An execution waits for approval, or behind another one of the same project, stage and service.
    Only the service knows which ones wait for a slot or a target: those are listed as accepted or
    started.
    """
    if waiting and state == "finished":
        raise WrongUsage("--waiting lists open executions: --state finished does not go with it")
    from keptn_remedy.cli import journal_commands
    from keptn_remedy.journal import Criteria

    criteria = Criteria(
        state=cast("State | None", state),
        project=project,
        stage=stage,
        service=service,
        action=action,
        result=result,
        context=context,
        since=since,
    )
    raise typer.Exit(
        journal_commands.list_executions(criteria, limit, waiting=waiting, as_json=as_json)
    )


@journal_app.command(name="show", cls=ServedCommand)
def journal_show(execution: ExecutionId, as_json: Json = False) -> None:
    """Show everything about one execution."""
    from keptn_remedy.cli import journal_commands

    raise typer.Exit(journal_commands.show_execution(execution, as_json=as_json))


@journal_app.command(name="tail", cls=ServedCommand)
def journal_tail(as_json: JsonLines = False) -> None:
    """Follow executions as they change, until Ctrl-C.

    An execution is shown again when its state changes, or what it waits for. The first column is
    the time of acceptance. Changes after the end, such as an undo, are not followed: see remedy
    journal list.
    """
    from keptn_remedy.cli import journal_commands

    raise typer.Exit(journal_commands.follow(as_json=as_json))


@journal_app.command(name="export", cls=ServedCommand)
def journal_export() -> None:
    """Print all executions, oldest first, one JSON object per line."""
    from keptn_remedy.cli import journal_commands

    raise typer.Exit(journal_commands.export())


@journal_app.command(name="backup", cls=Command)
def journal_backup(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The copy to write; - for standard output.")
    ],
) -> None:
    """Copy the whole journal to a file, also while the service runs.

    The copy holds triggers unmasked; only its owner may read the file. An earlier copy is replaced.
    """
    from keptn_remedy.cli import backup_commands

    raise typer.Exit(backup_commands.back_up(file))


@journal_app.command(name="restore", cls=Command)
def journal_restore(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="The copy to read; - for standard input.")
    ],
) -> None:
    """Put a copy in the place of the journal while no service runs.

    The copy is checked first. Executions that are open in it are resumed by the next service.

    Exit code: 1 if the journal is as it was, because a service runs or the copy is damaged, no
    journal, or of a newer release.
    """
    from keptn_remedy.cli import backup_commands

    raise typer.Exit(backup_commands.restore(file))


@journal_app.command(name="copy", cls=Command)
def journal_copy(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="The journal to read: a file or a URL.")
    ],
    target: Annotated[
        str, typer.Argument(metavar="TARGET", help="Where to write it: a file or a URL.")
    ],
) -> None:
    """Copy the journal from a file to PostgreSQL, or back.

    It works while no service runs. All is copied, or nothing. REMEDY_JOURNAL_PASSWORD_FILE holds
    the password of a database. A password in a URL can be seen by others on this machine.

    Exit code: 1 if nothing was copied, because a service runs, or the target holds a journal.
    """
    from keptn_remedy.cli import backup_commands

    raise typer.Exit(backup_commands.copy(source, target))
