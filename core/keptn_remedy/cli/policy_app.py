"""The commands `remedy policy`, for `commands`: checking a policy, and its schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keptn_remedy.cli.usage import Command, Json, WrongUsage

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


@policy_app.command(name="test", cls=Command)
def policy_test(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The policy file, in YAML.")],
    action: Annotated[
        str | None, typer.Option(metavar="NAME", help="The action's name or alias.")
    ] = None,
    project: Annotated[str, typer.Option(metavar="NAME", help="Keptn project.")] = "project",
    stage: Annotated[str, typer.Option(metavar="NAME", help="Keptn stage.")] = "stage",
    service: Annotated[str, typer.Option(metavar="NAME", help="Keptn service.")] = "service",
    label: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="A label of the event; may be repeated."),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="A target of the plan; may be repeated."),
    ] = None,
    replicas: Annotated[
        str | None,
        typer.Option(metavar="BEFORE:AFTER", help="The replicas that it would change."),
    ] = None,
    cpu: Annotated[
        str | None,
        typer.Option(metavar="BEFORE:AFTER", help="The CPU of a container, such as 500m:1."),
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="BEFORE:AFTER", help="Its memory, such as 256Mi:512Mi."),
    ] = None,
    at: Annotated[
        str,
        typer.Option(
            metavar="TIME", help='When, such as "2026-12-24 10:00" in the policy\'s time zone.'
        ),
    ] = "",
    cases: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A YAML file with cases, and what is expected of each."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what a policy would do with an execution, and by which rule.

    Earlier executions are not known here: the limits that count them are listed.

    Exit code: 0, or 1 if a case is not as expected or the policy is invalid, 2 for wrong usage.
    """
    from keptn_remedy.cli import policy_test as command

    if (action is None) == (cases is None):
        raise WrongUsage("give either --action or --cases")
    if cases is not None:
        raise typer.Exit(command.test_cases(file, cases, as_json=as_json))
    given = {
        "action": action,
        "project": project,
        "stage": stage,
        "service": service,
        "labels": {name: value for name, _, value in (each.partition("=") for each in label or ())},
        "targets": target or [],
        "replicas": replicas.split(":") if replicas else None,
        "cpu": cpu.split(":") if cpu else None,
        "memory": memory.split(":") if memory else None,
        "at": at,
    }
    raise typer.Exit(command.test(file, given, as_json=as_json))
