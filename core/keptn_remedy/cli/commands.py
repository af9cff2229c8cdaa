"""The commands of `remedy`. Each imports what it needs when it runs: `--help` stays fast."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keptn_remedy.cli.episode_app import episode_app
from keptn_remedy.cli.journal_app import journal_app
from keptn_remedy.cli.notify_app import notify_app
from keptn_remedy.cli.operators_app import operators_app
from keptn_remedy.cli.policy_app import policy_app
from keptn_remedy.cli.report_app import report_app
from keptn_remedy.cli.sources_app import sources_app
from keptn_remedy.cli.usage import (
    CONTEXT,
    Command,
    ExecutionId,
    Group,
    Json,
    JsonLines,
    Reason,
    ServedCommand,
    WrongUsage,
    one_of,
    whole_number,
)

app = typer.Typer(
    name="remedy",
    cls=Group,
    help="Keptn's remediation action provider.",
    context_settings=CONTEXT,
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(journal_app, name="journal")
app.add_typer(report_app, name="reports")
app.add_typer(policy_app, name="policy")
app.add_typer(notify_app, name="notify")
app.add_typer(operators_app, name="operators")


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


app.add_typer(sources_app, name="sources")
app.add_typer(episode_app, name="episodes")


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


@app.command(name="try", cls=Command)
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


@app.command(cls=ServedCommand)
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


@app.command(cls=ServedCommand)
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


@app.command(cls=ServedCommand)
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


@app.command(cls=ServedCommand)
def deny(execution: ExecutionId, reason: Reason = "", as_json: Json = False) -> None:
    """Deny an execution that is waiting for approval.

    The execution ends as refused.

    Exit code: 0 if the execution is denied, also by someone else before; 1 if it does not exist, is
    not waiting for approval or was approved; 2 for wrong usage.
    """
    from keptn_remedy.cli import approval_commands

    raise typer.Exit(approval_commands.answer(execution, "denied", reason, as_json=as_json))


@app.command(cls=ServedCommand)
def undo(execution: ExecutionId, reason: Reason = "", as_json: Json = False) -> None:
    """Undo what a finished execution changed.

    The running service does it, and the command waits for the end. The service refuses if the
    target has been changed since.
    """
    from keptn_remedy.cli import undo_command

    raise typer.Exit(undo_command.undo(execution, reason, as_json=as_json))


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


@app.command(cls=Command)
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


@app.command(cls=Command)
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


@app.command(cls=ServedCommand)
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


@app.command(cls=Command)
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


@app.command(cls=Command)
def version(as_json: Json = False) -> None:
    """Print the version of keptn-remedy."""
    from importlib.metadata import version as installed

    number = installed("keptn-remedy")
    typer.echo(f'{{"version": "{number}"}}' if as_json else number)
