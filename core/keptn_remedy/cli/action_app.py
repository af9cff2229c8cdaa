"""The commands for those who use or write actions, for `commands`: see, try, begin one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keptn_remedy.cli.usage import (
    Command,
    Json,
    ServedCommand,
    WrongUsage,
)

action_app = typer.Typer()


@action_app.command(cls=ServedCommand)
def actions(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Show this action's value and settings, too."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the actions: which are on, and why the others are off."""
    from keptn_remedy.cli import actions_command

    raise typer.Exit(actions_command.list_actions(name, as_json=as_json))


@action_app.command(name="try", cls=Command)
def try_action(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="The action's name or alias.")],
    value: Annotated[
        str, typer.Option(metavar="JSON", help="The `value:` of remediation.yaml.")
    ] = "null",
    project: Annotated[str, typer.Option(metavar="NAME", help="Keptn project.")] = "project",
    stage: Annotated[str, typer.Option(metavar="NAME", help="Keptn stage.")] = "stage",
    service: Annotated[str, typer.Option(metavar="NAME", help="Keptn service.")] = "service",
    apply: Annotated[
        bool, typer.Option("--apply", help="Make the changes; without it, only plan them.")
    ] = False,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Plan under this policy as well; not with --apply."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Run an action once, without Keptn. Changes nothing without --apply.

    It uses a temporary journal: the action sees no earlier executions, and the service will not
    see this one. The built-in guard-rails apply; a pause does not, and a policy with --policy only.

    Example: remedy try toggle-feature --value '{"PromotionCampaign": "off"}'
    """
    if policy and apply:
        raise WrongUsage("--policy is for a dry run: leave --apply out")
    from keptn_remedy.cli import try_command

    scope = {"project": project, "stage": stage, "service": service}
    raise typer.Exit(
        try_command.try_action(action, value, scope, policy, apply=apply, as_json=as_json)
    )


@action_app.command(cls=Command)
def init(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The action's name, such as clear-queue.")
    ],
    into: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where to; by default a folder NAME.")
    ] = None,
) -> None:
    """Write a package with an action of your own, and its tests."""
    from keptn_remedy.cli import init_command

    raise typer.Exit(init_command.init(name, into))
