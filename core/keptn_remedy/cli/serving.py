"""`remedy serve`: the provider beside Keptn, or alone (`--local`), with a problem to play."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from rich.markup import escape

from keptn_remedy import service
from keptn_remedy.cli.sending import post
from keptn_remedy.cli.terminal import FAILED, GOOD, WRONG_USAGE, complain, console, printable
from keptn_remedy.events import TRIGGERED, Report
from keptn_remedy.journal import JournalUnusable
from keptn_remedy.registry import RegistryError
from keptn_remedy.settings import SettingsError

FLAGS = Path("var/flags.json")
LOCAL = {
    "REMEDY_TRANSPORT": "local",
    "REMEDY_JOURNAL": "var/local-journal.db",
    "FLAGD_FILE": str(FLAGS),
}
DEMO_FLAG = "PromotionCampaign"
_LOOK_SECONDS = 0.02
_COLOURS = {"pass": "green", "warning": "yellow", "fail": "red"}


def serve(*, local: bool, demo: bool) -> int:
    """Serve until stopped; returns the exit code."""
    environ: Mapping[str, str] = os.environ
    if local:
        on_terminal = {"REMEDY_LOG_FORMAT": "console"} if sys.stdout.isatty() else {}
        environ = {**LOCAL, **on_terminal, **os.environ}
    try:
        if local:
            _seed_flags(Path(environ["FLAGD_FILE"]), reset=demo)
        _run(_serve(environ, local=local, demo=demo))
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE
    except (JournalUnusable, OSError) as error:
        complain([str(error)])
        return FAILED
    return GOOD


async def _serve(environ: Mapping[str, str], *, local: bool, demo: bool) -> None:
    async def ready(provider: service.Service) -> None:
        if demo:
            await _play(provider)
        _show_addresses(provider)

    await service.serve(
        environ,
        show=_show_report if sys.stdout.isatty() else lambda report: None,
        ready=ready if local else None,
    )


def _run(main: Any) -> None:
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(main)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # not on this platform
        return None
    return uvloop.new_event_loop


def _seed_flags(path: Path, *, reset: bool) -> None:
    """A flag file to play with; the demo begins with its flag on."""
    if path.exists() and not reset:
        return
    content: dict[str, Any] = {"$schema": "https://flagd.dev/schema/v0/flags.json", "flags": {}}
    if path.exists():
        content = orjson.loads(path.read_bytes())
    names = (DEMO_FLAG, "Recommendations") if not path.exists() else (DEMO_FLAG,)
    for name in names:
        content["flags"][name] = {
            "state": "ENABLED",
            "variants": {"on": True, "off": False},
            "defaultVariant": "on",
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))


async def _play(provider: service.Service) -> None:
    """Send a problem's `action.triggered` and wait for its outcome."""
    event_id = str(uuid4())
    await post(f"http://127.0.0.1:{provider.event_port}/", orjson.dumps(_demo_event(event_id)))
    while True:
        record = await provider.journal.record(event_id)
        if record and record.reported_at:
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _demo_event(event_id: str) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "shipyard-controller",
        "type": TRIGGERED,
        "datacontenttype": "application/json",
        "shkeptncontext": str(uuid4()),
        "data": {
            "project": "sockshop",
            "stage": "production",
            "service": "carts",
            "labels": {"Problem URL": "https://monitoring.example/problems/P-1"},
            "action": {
                "name": "Toggle feature flag",
                "action": "toggle-feature",
                "description": f"Switch {DEMO_FLAG} off while carts fails.",
                "value": {DEMO_FLAG: "off"},
            },
            "problem": {
                "State": "OPEN",
                "ProblemID": "P-1",
                "ProblemTitle": "Failure rate increase",
            },
        },
    }


def _show_report(report: Report) -> None:
    event = orjson.loads(report.body)
    data = event["data"]
    text = f"[bold]{event['type']}[/]"
    if "result" in data:
        colour = _COLOURS.get(data["result"], "white")
        text += f" [{colour}]{data['status']}/{data['result']}[/]"
    scope = "/".join(data.get(name, "") for name in ("project", "stage", "service"))
    message = data.get("message", "")
    console().print(f"{text} {escape(printable(scope))} {escape(printable(message))}")


def _show_addresses(provider: service.Service) -> None:
    config = provider.settings
    event_url = f"http://{config.host}:{provider.event_port}/"
    ops_url = f"http://{config.ops_host}:{provider.ops_port}"
    for line in (
        "",
        "keptn-remedy serves without Keptn. Ctrl-C stops it.",
        f"  events      POST {event_url}   (try: remedy send examples/events/toggle-feature.json)",
        f"  executions  {ops_url}/api/executions",
        f"  actions     {ops_url}/api/actions",
        f"  metrics     {ops_url}/metrics",
        "",
    ):
        console().print(line, markup=False)
