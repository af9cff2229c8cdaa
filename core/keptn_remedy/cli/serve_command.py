"""`remedy serve`: the service beside Keptn or, with `--local`, alone in a terminal."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import orjson

from keptn_remedy import service, settings
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    coloured,
    complain,
    console,
    is_terminal,
    leave_summaries_out,
    printable,
    reason,
    say,
    say_folded,
)
from keptn_remedy.events import Report
from keptn_remedy.guardrails.policy import PolicyError
from keptn_remedy.journal import JournalError, JournalUnusable, place_of
from keptn_remedy.registry import RegistryError
from keptn_remedy.settings import Settings
from keptn_remedy.standalone.errors import SourcesError
from keptn_remedy.support import event_loop, logs, variables
from keptn_remedy.support.variables import SettingsError

LOCAL = {
    "REMEDY_JOURNAL": "var/local-journal.db",
    "FLAGD_FILE": "var/flags.json",
    "REMEDY_PAGE_PUBLIC": "true",
}
# A terminal shows the reports themselves; only warnings and errors are logged beside them.
FOR_PEOPLE = {"REMEDY_LOG_FORMAT": "console", "REMEDY_LOG_LEVEL": "warning"}
# A demonstration must not touch flags or workloads that are in use.
WITHOUT_THE_WORLD = dict.fromkeys(
    (
        "UNLEASH_URL",
        "UNLEASH_SERVER_URL",
        "UNLEASH_API_TOKEN",
        "UNLEASH_TOKEN",
        "KUBECONFIG",
        "KUBERNETES_SERVICE_HOST",
    ),
    "",
)

Tell = Callable[[str, Sequence[str]], None]


def serve(*, local: bool, demo: bool, standalone: bool = False, tour: bool = False) -> int:
    """Serve until stopped; returns the exit code."""
    try:
        found = _variables(os.environ, local=local, demo=demo)
        if standalone:
            found["REMEDY_TRANSPORT"] = "standalone"
        config = settings.load(found)
        return _serve_with(config, found, local=local, demo=demo, tour=tour)
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE
    except PolicyError as error:
        complain([f"REMEDY_POLICY: {mistake}" for mistake in error.mistakes])
        return WRONG_USAGE
    except SourcesError as error:
        complain([f"REMEDY_SOURCES: {mistake}" for mistake in error.mistakes])
        return WRONG_USAGE
    except (JournalUnusable, JournalError) as error:
        complain([str(error)])
        return FAILED


def _variables(environ: Mapping[str, str], *, local: bool, demo: bool) -> dict[str, str]:
    found = variables.read(environ)
    if not local:
        return found
    defaults = LOCAL | (FOR_PEOPLE if is_terminal() else {})
    given = WITHOUT_THE_WORLD if demo else {}
    return {**defaults, **found, **given, "REMEDY_TRANSPORT": "local"}


def _serve_with(
    config: Settings, found: Mapping[str, str], *, local: bool, demo: bool, tour: bool
) -> int:
    flags = Path(found.get("FLAGD_FILE", ""))
    try:
        if local and flags.name:
            from keptn_remedy.cli import demo as demonstration

            demonstration.seed_flags(flags)
    except OSError as error:
        complain([f"FLAGD_FILE: can't create {flags}: {error.strerror}; name a file elsewhere"])
        return FAILED
    try:
        event_loop.run(
            _serve(config, found, local=local, demo=flags if demo else None, tour=tour),
            # Ctrl-C is a signal that `service.serve` handles: who raises this is an action.
            contains=(SystemExit, KeyboardInterrupt),
            loop_factory=_loop_factory(),
        )
    except OSError as error:
        complain([_explained(error, config)])
        return FAILED
    return GOOD


async def _serve(
    config: Settings, found: Mapping[str, str], *, local: bool, demo: Path | None, tour: bool
) -> None:
    for_people = is_terminal() and config.log_format == "console"

    async def ready(provider: service.Service) -> None:
        if for_people:
            leave_summaries_out()
        try:
            if demo:
                await _play(provider, demo, _tell if for_people else _tell_nobody, tour=tour)
            if for_people:
                _show_addresses(provider, is_changed=demo is not None and not tour)
            else:
                _log_addresses(provider)
            await asyncio.Event().wait()
        finally:  # stopped, or even cancelled while the demonstration plays
            if for_people:
                _show_end(provider)

    await service.serve(
        found,
        config=config,
        found=found,
        show=_show_report if for_people else None,
        ready=ready if local else None,
    )
    # Without this, an action that swallows its cancellation or blocks a thread keeps us alive.
    sys.stdout.flush()
    os._exit(GOOD)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on this platform
        return None
    return uvloop.new_event_loop


def _explained(error: OSError, config: Settings) -> str:
    if error.filename:
        return reason(error)
    for name, host, port in (
        ("REMEDY_PORT", config.host, config.port),
        ("REMEDY_OPS_PORT", config.ops_host, config.ops_port),
        ("REMEDY_INTAKE_PORT", config.intake_host, config.intake_port),
    ):
        if error.errno == errno.EADDRINUSE and re.search(rf", {port}\b", str(error)):
            return f"port {port} on {host} is in use; stop the process there, or set {name}"
    hosts = f"REMEDY_HOST ({config.host}) and REMEDY_OPS_HOST ({config.ops_host})"
    return f"can't listen: {reason(error)}; check {hosts}"


async def _play(provider: service.Service, flags: Path, tell: Tell, *, tour: bool) -> None:
    from keptn_remedy.cli import demo as demonstration
    from keptn_remedy.cli import story

    events = _urls(provider)["events"]
    tell("The reports, as Keptn would get them", ())
    try:
        played = await demonstration.play(provider, events, flags)
        tell("What happened", story.of(played, provider.policy.rules))
        if tour:
            refused = await demonstration.play_refusal(provider, events)
            tell("The same problem during a pause", story.refused(refused))
            tell("An undo", story.undone(await demonstration.play_undo(provider, played.id)))
    except demonstration.DemoFailed as error:
        logs.logger().warning("the demonstration failed", reason=str(error))


def _tell(title: str, lines: Sequence[str]) -> None:
    console().print(f"\n{title}", style="bold")
    for line in lines:
        say(line)


def _tell_nobody(title: str, lines: Sequence[str]) -> None:
    """Programs read the log."""


def _show_report(report: Report) -> None:
    from rich.text import Text

    event = orjson.loads(report.body)
    data = event["data"]
    scope = "/".join(data[name] for name in ("project", "stage", "service") if name in data)
    line = Text(f"{event['type']:30}  {printable(scope)}", style="bold")
    if "result" in data:
        line = Text.assemble(
            line, "  ", coloured(f"{data['status']}/{data['result']}", data["result"])
        )
    console().print(line, soft_wrap=True)
    if message := data.get("message"):
        say_folded(message, "    ", "    ")


def _urls(provider: service.Service) -> dict[str, str]:
    config = provider.settings
    ops = _origin(config.ops_host, provider.ops_port)
    return {
        "events": f"{_origin(config.host, provider.event_port or config.port)}/",
        "page": f"{ops}/",
        "executions": f"{ops}/api/executions",
        "actions": f"{ops}/api/actions",
        "metrics": f"{ops}/metrics",
    }


def _origin(host: str, port: int) -> str:
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  not bound here
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"


def _show_addresses(provider: service.Service, *, is_changed: bool) -> None:
    """`is_changed`: the last execution changed something, so that it can be undone."""
    urls, remedy = _urls(provider), _as_called()
    by_journal = f"  REMEDY_JOURNAL={place_of(provider.settings)} {remedy}"
    undo = [f"{by_journal} undo @last"]
    send = [
        f"  {remedy} send examples/events/toggle-feature.json --new-id \\",
        f"    --to {urls['events']}",
    ]
    lines = [
        "",
        "keptn-remedy is running without Keptn. Ctrl-C stops it.",
        *(f"  {name:<10}  {url}" for name, url in urls.items()),
        "In another terminal:",
        f"{by_journal} journal list",
        *(undo + send if is_changed else send + undo),
        "",
    ]
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)


def _as_called() -> str:
    """The command as one can type it here, even if it is not on the PATH."""
    command = Path(sys.argv[0]).absolute()
    try:
        return str(command.relative_to(Path.cwd()))
    except ValueError:
        return "remedy"


def _show_end(provider: service.Service) -> None:
    running = provider.engine.dispatcher.running
    if not running:
        say("\nStopping.")
        return
    executions = "1 execution" if running == 1 else f"{running} executions"
    seconds = f"{provider.settings.drain_seconds:g}"
    say("")
    say_folded(
        f"Stopping: up to {seconds} s are left for {executions} to end. Ctrl-C stops at once."
    )


def _log_addresses(provider: service.Service) -> None:
    logs.logger().info("serving without Keptn", **_urls(provider))
