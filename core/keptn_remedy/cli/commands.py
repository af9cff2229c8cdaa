"""The commands of `remedy`. Each imports what it needs when it runs: `--help` stays fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

app = typer.Typer(
    name="remedy",
    help="Keptn's remediation action provider.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
journal_app = typer.Typer(
    help="Look into the journal, also while the service runs.", no_args_is_help=True
)
app.add_typer(journal_app, name="journal")


State = Literal["accepted", "started", "finished"]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JsonLines = Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")]


@app.command()
def serve(
    local: Annotated[
        bool,
        typer.Option(
            "--local",
            help="Without Keptn: flags in var/flags.json, answers shown here. What UNLEASH_URL and "
            "KUBECONFIG name is acted on, unless --demo is given.",
        ),
    ] = False,
    demo: Annotated[
        bool,
        typer.Option("--demo", help="With --local: first play a problem that switches a flag off."),
    ] = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C. Settings come from variables: REMEDY_PORT and so on."""
    if demo and not local:
        raise typer.BadParameter("goes with --local", param_hint="--demo")
    from keptn_remedy.cli import serving

    raise typer.Exit(serving.serve(local=local, demo=demo))


@app.command()
def send(
    event: Annotated[
        Path,
        typer.Argument(metavar="EVENT.json", help="A file with one CloudEvent in structured JSON."),
    ],
    to: Annotated[
        str, typer.Option(metavar="URL", help="The event port.")
    ] = "http://127.0.0.1:8080/",
    new_id: Annotated[
        bool, typer.Option("--new-id", help="Give it a fresh id, so that it isn't a duplicate.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Send an event to a running provider, as the distributor would."""
    from keptn_remedy.cli import sending

    raise typer.Exit(sending.send(event, to, new_id=new_id, as_json=as_json))


@app.command()
def actions(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="Tell all about this one.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the actions: which are on, which are off and why."""
    from keptn_remedy.cli import acting

    raise typer.Exit(acting.list_actions(name, as_json=as_json))


@app.command(name="try")
def try_action(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="Its name or an alias.")],
    value: Annotated[
        str, typer.Option(metavar="JSON", help="The `value:` of remediation.yaml.")
    ] = "null",
    project: Annotated[str, typer.Option(metavar="NAME", help="Keptn project.")] = "project",
    stage: Annotated[str, typer.Option(metavar="NAME", help="Keptn stage.")] = "stage",
    service: Annotated[str, typer.Option(metavar="NAME", help="Keptn service.")] = "service",
    apply: Annotated[
        bool, typer.Option("--apply", help="Carry it out; otherwise a dry run.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Try an action once, without Keptn. Changes nothing unless --apply is given.

    Its journal is thrown away: nothing is known of earlier rollbacks, nor remembered of this one.

    Example: remedy try toggle-feature --value '{"PromotionCampaign": "off"}'
    """
    from keptn_remedy.cli import acting

    scope = {"project": project, "stage": stage, "service": service}
    raise typer.Exit(acting.try_action(action, value, scope, apply=apply, as_json=as_json))


@journal_app.command(name="list")
def journal_list(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, metavar="N", help="How many at most.")
    ] = 20,
    as_json: JsonLines = False,
) -> None:
    """The newest executions."""
    from keptn_remedy.cli import looking

    raise typer.Exit(looking.list_executions(state, limit, as_json=as_json))


@journal_app.command(name="show")
def journal_show(
    execution: Annotated[str, typer.Argument(metavar="ID", help="The execution's id.")],
    as_json: Json = False,
) -> None:
    """One execution, whole."""
    from keptn_remedy.cli import looking

    raise typer.Exit(looking.show_execution(execution, as_json=as_json))


@journal_app.command(name="tail")
def journal_tail(as_json: JsonLines = False) -> None:
    """Follow executions as their state changes, until Ctrl-C."""
    from keptn_remedy.cli import looking

    raise typer.Exit(looking.follow(as_json=as_json))


@journal_app.command(name="export")
def journal_export() -> None:
    """Every execution, oldest first, one JSON object a line."""
    from keptn_remedy.cli import looking

    raise typer.Exit(looking.export())


@app.command()
def version(as_json: Json = False) -> None:
    """The version of keptn-remedy."""
    from importlib.metadata import version as installed

    number = installed("keptn-remedy")
    typer.echo(f'{{"version": "{number}"}}' if as_json else number)
