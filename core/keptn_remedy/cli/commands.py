"""The commands of `remedy`, and those that run or feed a service. Each imports what it needs when
it runs: `--help` stays fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keptn_remedy.cli.action_app import action_app
from keptn_remedy.cli.check_app import check_app
from keptn_remedy.cli.episode_app import episode_app
from keptn_remedy.cli.journal_app import journal_app
from keptn_remedy.cli.notify_app import notify_app
from keptn_remedy.cli.operators_app import operators_app
from keptn_remedy.cli.order_app import order_app
from keptn_remedy.cli.policy_app import policy_app
from keptn_remedy.cli.report_app import report_app
from keptn_remedy.cli.sources_app import sources_app
from keptn_remedy.cli.usage import CONTEXT, Command, Group, Json, ServedCommand, WrongUsage

app = typer.Typer(
    name="remedy",
    cls=Group,
    help="Keptn's remediation action provider.",
    context_settings=CONTEXT,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
# Those without a name are commands of `remedy` itself.
app.add_typer(action_app)
app.add_typer(order_app)
app.add_typer(check_app)
app.add_typer(journal_app, name="journal")
app.add_typer(report_app, name="reports")
app.add_typer(policy_app, name="policy")
app.add_typer(notify_app, name="notify")
app.add_typer(operators_app, name="operators")
app.add_typer(sources_app, name="sources")
app.add_typer(episode_app, name="episodes")


def _show_version(*, value: bool) -> None:
    if value:
        from importlib.metadata import version as installed

        typer.echo(installed("keptn-remedy"))
        raise typer.Exit


@app.callback()
def remedy(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            help="Print the version and exit.",
            callback=_show_version,
            is_eager=True,
            expose_value=False,
        ),
    ] = False,
) -> None:
    """Keptn's remediation action provider."""


@app.command(cls=Command)
def serve(
    local: Annotated[
        bool,
        typer.Option(
            "--local",
            help="Run without Keptn: flags are kept in var/flags.json, and reports are printed "
            "here. Unleash and Kubernetes are still changed if their settings are given.",
        ),
    ] = False,
    standalone: Annotated[
        bool,
        typer.Option(
            "--standalone",
            help="Run without Keptn on problems of Alertmanager: REMEDY_SOURCES says where they "
            "come from, the folder REMEDY_REMEDIATIONS what is tried.",
        ),
    ] = False,
    demo: Annotated[
        bool,
        typer.Option(
            "--demo",
            help="With --local: first play a problem that switches a flag off. Ignores the "
            "settings of Unleash and Kubernetes.",
        ),
    ] = False,
    tour: Annotated[
        bool, typer.Option("--tour", help="With --demo: then show a refusal and an undo.")
    ] = False,
) -> None:
    """Run the service until SIGTERM or Ctrl-C.

    Settings are environment variables, such as REMEDY_PORT.
    """
    if demo and not local:
        raise WrongUsage("--demo works only together with --local")
    if tour and not demo:
        raise WrongUsage("--tour works only together with --demo")
    if standalone and local:
        raise WrongUsage("--standalone and --local exclude each other")
    from keptn_remedy.cli import serve_command

    raise typer.Exit(serve_command.serve(local=local, demo=demo, standalone=standalone, tour=tour))


@app.command(cls=ServedCommand)
def send(
    event: Annotated[
        Path,
        typer.Argument(metavar="EVENT.json", help="A file with one CloudEvent in structured JSON."),
    ],
    to: Annotated[
        str, typer.Option(metavar="URL", help="The service's event port.")
    ] = "http://127.0.0.1:8080/",
    new_id: Annotated[
        bool,
        typer.Option("--new-id", help="Give the event a new id, so that it is not a duplicate."),
    ] = False,
    wait: Annotated[
        bool,
        typer.Option(
            "--wait",
            help="Wait for the outcome, which the journal tells, or the service of --server.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Send an event to a running service, as Keptn does.

    The service's answer is printed. Exit code: 0 if the service took the event, 1 if not; with
    --wait also 1 if the execution failed.
    """
    from keptn_remedy.cli import send_command

    raise typer.Exit(send_command.send(event, to, new_id=new_id, wait=wait, as_json=as_json))


@app.command(cls=ServedCommand)
def mcp() -> None:
    """Let an agent ask a running service.

    An agent starts this command, and speaks the Model Context Protocol to it on standard input and
    output. The service is named by --server; --token-file names the agents' token
    (REMEDY_AGENT_TOKEN_FILE of the service).

    Exit code: 0 once the agent leaves; 1 if the service can't be reached; 2 if a setting or the
    library is missing.
    """
    from keptn_remedy.cli import mcp_command

    raise typer.Exit(mcp_command.mcp())


@app.command(cls=Command)
def version(as_json: Json = False) -> None:
    """Print the version of keptn-remedy."""
    from importlib.metadata import version as installed

    number = installed("keptn-remedy")
    typer.echo(f'{{"version": "{number}"}}' if as_json else number)
