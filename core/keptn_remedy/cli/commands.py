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
ExecutionId = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.")]
Reason = Annotated[
    str, typer.Option(metavar="TEXT", help="Why; it is kept and told to all who look.")
]


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
    The built-in guard-rails hold; neither the policy nor a pause is looked at.

    Example: remedy try toggle-feature --value '{"PromotionCampaign": "off"}'
    """
    from keptn_remedy.cli import acting

    scope = {"project": project, "stage": stage, "service": service}
    raise typer.Exit(acting.try_action(action, value, scope, apply=apply, as_json=as_json))


@app.command()
def pause(reason: Reason, as_json: Json = False) -> None:
    """Stop acting until remedy resume.

    Executions are refused, and tell who paused and why; what is being carried out goes on to its
    end. A service that starts later is paused too. There is one pause: a second one replaces the
    first one's reason and time.
    """
    from keptn_remedy.cli import operating

    raise typer.Exit(operating.pause(reason, as_json=as_json))


@app.command()
def resume(
    target: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET", help="Not the pause: let this suspended target be acted on."
        ),
    ] = None,
    suspended: Annotated[
        bool, typer.Option("--suspended", help="Not the pause: let all suspended targets be.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Act again: after a pause, or on targets that are suspended.

    A rule may suspend a target where executions did not help. What was refused stays refused.
    The pause of a file (REMEDY_PAUSE_FILE) ends with that file; until then the exit code is 1.
    """
    if suspended and target is not None:
        raise typer.BadParameter("goes without --target", param_hint="--suspended")
    from keptn_remedy.cli import operating

    if suspended or target is not None:
        raise typer.Exit(operating.resume_targets(target, as_json=as_json))
    raise typer.Exit(operating.resume(as_json=as_json))


@app.command()
def approve(execution: ExecutionId, reason: Reason = "", as_json: Json = False) -> None:
    """Let an execution act that asks for it.

    remedy journal show ID tells what it will do. It plans again, and asks again if that changed.
    The command returns once the service goes on with it.

    Exit code: 0 when it is approved, also by somebody before; 1 when it is not (it asks nothing,
    was denied, is unknown, a pause holds), or asks again; 2 for wrong usage.
    """
    from keptn_remedy.cli import operating

    raise typer.Exit(operating.answer(execution, "approved", reason, as_json=as_json))


@app.command()
def deny(execution: ExecutionId, reason: Reason = "", as_json: Json = False) -> None:
    """Forbid an execution that asks to act; it ends as refused.

    Exit code: 0 when it is denied, also by somebody before; 1 when it is not (it asks nothing, was
    approved, is unknown); 2 for wrong usage.
    """
    from keptn_remedy.cli import operating

    raise typer.Exit(operating.answer(execution, "denied", reason, as_json=as_json))


@app.command()
def undo(execution: ExecutionId, reason: Reason = "", as_json: Json = False) -> None:
    """Put back what a finished execution changed.

    The running service does it; the command waits for that. It is refused where someone has
    changed the target since.
    """
    from keptn_remedy.cli import operating

    raise typer.Exit(operating.undo(execution, reason, as_json=as_json))


@journal_app.command(name="list")
def journal_list(
    state: Annotated[State | None, typer.Option(help="Only those in this state.")] = None,
    limit: Annotated[
        int, typer.Option(min=1, max=100_000, metavar="N", help="How many at most.")
    ] = 20,
    waiting: Annotated[
        bool, typer.Option("--waiting", help="Only those that wait, and for what.")
    ] = False,
    as_json: JsonLines = False,
) -> None:
    """The newest executions.

    They wait for approval, or behind another one of their project, stage and service. Those that
    wait for room or a turn, which the service alone knows, are listed as started or accepted.
    """
    if waiting and state == "finished":
        raise typer.BadParameter("what is finished waits for nothing", param_hint="--waiting")
    from keptn_remedy.cli import looking

    raise typer.Exit(looking.list_executions(state, limit, waiting=waiting, as_json=as_json))


@journal_app.command(name="show")
def journal_show(execution: ExecutionId, as_json: Json = False) -> None:
    """One execution, whole."""
    from keptn_remedy.cli import looking

    raise typer.Exit(looking.show_execution(execution, as_json=as_json))


@journal_app.command(name="tail")
def journal_tail(as_json: JsonLines = False) -> None:
    """Follow executions as their state, or what they wait for, changes; until Ctrl-C.

    The first column is when it was accepted. What happens after its end, such as an undo, is not
    followed: see journal list.
    """
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


policy_app = typer.Typer(
    help="What a policy (REMEDY_POLICY) may say, and says.", no_args_is_help=True
)
app.add_typer(policy_app, name="policy")


@policy_app.command(name="schema")
def policy_schema() -> None:
    """Print the JSON Schema of a policy, for editors and pipelines."""
    from keptn_remedy.cli import policies

    raise typer.Exit(policies.schema())


@policy_app.command(name="check")
def policy_check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A policy, in YAML.")],
    as_json: Json = False,
) -> None:
    """Say what is wrong with a policy or, in words, what holds for whom.

    Exit code: 0 for a good policy, 1 for a bad one, 2 where there is none to read.
    """
    from keptn_remedy.cli import policies

    raise typer.Exit(policies.check(file, as_json=as_json))
