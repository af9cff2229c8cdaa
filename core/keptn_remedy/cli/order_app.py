"""The commands that order something of a running service, for `commands`."""

from __future__ import annotations

from typing import Annotated

import typer

from keptn_remedy.cli.usage import (
    ExecutionId,
    Json,
    Reason,
    ServedCommand,
    WrongUsage,
)

order_app = typer.Typer()


@order_app.command(cls=ServedCommand)
def pause(
    reason: Annotated[
        str, typer.Option(metavar="TEXT", help="Why; shown with each refused execution.")
    ],
    as_json: Json = False,
) -> None:
    """Refuse all executions until remedy resume.

    Each refused execution reports who paused and why. Executions that are already acting run to
    their end; none begins to act once the command has returned. The pause survives a restart.
    There is only one: a second pause replaces the first.
    """
    from keptn_remedy.cli import pause_commands

    raise typer.Exit(pause_commands.pause(reason, as_json=as_json))


@order_app.command(cls=ServedCommand)
def resume(
    target: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET", help="Resume this suspended target; a pause stays in force."
        ),
    ] = None,
    suspended: Annotated[
        bool,
        typer.Option("--suspended", help="Resume all suspended targets; a pause stays in force."),
    ] = False,
    as_json: Json = False,
) -> None:
    """End a pause, or the suspension of targets.

    A policy can suspend a target on which executions failed in a row. Executions that were refused
    stay refused. A pause by REMEDY_PAUSE_FILE ends when that file is removed; until then the exit
    code is 1.
    """
    if suspended and target is not None:
        raise WrongUsage("give either --target or --suspended, not both")
    from keptn_remedy.cli import pause_commands

    if suspended or target is not None:
        raise typer.Exit(pause_commands.resume_targets(target, as_json=as_json))
    raise typer.Exit(pause_commands.resume(as_json=as_json))


@order_app.command(cls=ServedCommand)
def approve(execution: ExecutionId, reason: Reason = "", as_json: Json = False) -> None:
    """Approve an execution that is waiting for approval.

    remedy journal show ID shows its plan. The service plans again before it acts; if the plan has
    changed, it asks again. The command returns once the service has continued the execution.

    Exit code: 0 if the execution is approved, also by someone else before; 1 if it does not exist,
    is not waiting for approval, was denied or asks again, or if a pause is in force; 2 for wrong
    usage.
    """
    from keptn_remedy.cli import approval_commands

    raise typer.Exit(approval_commands.answer(execution, "approved", reason, as_json=as_json))


@order_app.command(cls=ServedCommand)
def deny(execution: ExecutionId, reason: Reason = "", as_json: Json = False) -> None:
    """Deny an execution that is waiting for approval.

    The execution ends as refused.

    Exit code: 0 if the execution is denied, also by someone else before; 1 if it does not exist, is
    not waiting for approval or was approved; 2 for wrong usage.
    """
    from keptn_remedy.cli import approval_commands

    raise typer.Exit(approval_commands.answer(execution, "denied", reason, as_json=as_json))


@order_app.command(cls=ServedCommand)
def undo(execution: ExecutionId, reason: Reason = "", as_json: Json = False) -> None:
    """Undo what a finished execution changed.

    The running service does it, and the command waits for the end. The service refuses if the
    target has been changed since.
    """
    from keptn_remedy.cli import undo_command

    raise typer.Exit(undo_command.undo(execution, reason, as_json=as_json))
