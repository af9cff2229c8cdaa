"""`remedy actions` and `remedy try`: what there is to act with, and trying it without Keptn."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from uuid import uuid4

import orjson

from keptn_remedy import events, logs, registry, service, settings
from keptn_remedy.action import Outcome, PlannedAction
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    complain,
    console,
    printable,
    say,
    table,
)
from keptn_remedy.masking import Mask
from keptn_remedy.registry import Entry, Registry, RegistryError
from keptn_remedy.settings import SettingsError
from keptn_remedy.web.models import ActionInfo


def list_actions(name: str | None, *, as_json: bool) -> int:
    """All actions, or all about one; returns the exit code."""
    try:
        found = discover(os.environ)
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE
    if name is None:
        _show_all(found, as_json=as_json)
        return GOOD
    entry = found.find(name) or found.entry(name)
    if entry is None:
        complain([f"there is no action {name!r}; `remedy actions` lists them"])
        return FAILED
    _show_one(entry, as_json=as_json)
    return GOOD


def try_action(
    name: str, value: str, scope: Mapping[str, str], *, apply: bool, as_json: bool
) -> int:
    """Run an action once and tell its outcome; returns the exit code."""
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        complain([f"--value is not JSON: {error}"])
        return WRONG_USAGE
    try:
        found = discover(os.environ)
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE
    if found.find(name) is None:
        entry = found.entry(name)
        complain([f"{entry.name} is off: {entry.off}" if entry else f"there is no action {name!r}"])
        return FAILED
    logs.configure("warning", "console", "keptn-remedy", Mask(), stream=sys.stderr)
    trigger = events.stored_trigger(_event(name, parsed, scope))
    outcome = asyncio.run(_run(found, trigger, dry_run=not apply))
    _show_outcome(outcome, as_json=as_json)
    return FAILED if outcome.is_failure else GOOD


def discover(environ: Mapping[str, str]) -> Registry:
    """The actions as the service would find them.

    Raises:
        SettingsError, RegistryError: with one line per mistake.
    """
    config, variables = settings.load(environ), settings.variables(environ)
    return registry.discover(variables, switched_on=config.actions, folder=config.actions_dir)


async def _run(found: Registry, trigger: events.ActionTriggered, *, dry_run: bool) -> Outcome:
    try:
        return await service.run_once(found, trigger, dry_run=dry_run)
    finally:
        await found.close()


def _event(name: str, value: object, scope: Mapping[str, str]) -> bytes:
    return orjson.dumps(
        {
            "specversion": "1.0",
            "id": str(uuid4()),
            "source": "remedy-try",
            "type": events.TRIGGERED,
            "time": datetime.now(UTC).isoformat(),
            "shkeptncontext": str(uuid4()),
            "data": {**scope, "action": {"action": name, "value": value}},
        }
    )


def _info(entry: Entry) -> ActionInfo:
    return ActionInfo.of(entry, planned=issubclass(entry.cls, PlannedAction))


def _show_all(found: Registry, *, as_json: bool) -> None:
    infos = [_info(entry) for entry in found.entries]
    if as_json:
        say(orjson.dumps([info.model_dump() for info in infos]).decode())
        return
    table(
        ("ACTION", "STATE", "ALIASES", "WHAT IT DOES"),
        [
            (
                info.name,
                "on" if info.on else f"off: {info.off_because}",
                ", ".join(info.aliases),
                info.description.partition("\n")[0],
            )
            for info in infos
        ],
    )


def _show_one(entry: Entry, *, as_json: bool) -> None:
    info = _info(entry)
    if as_json:
        say(info.model_dump_json())
        return
    off = f" (off: {printable(info.off_because)})" if not info.on else ""
    say(f"{info.name}{off}\n\n{info.description}\n")
    prefix = registry.env_prefix(entry.cls)
    table(
        ("FIELD", ""),
        [
            ("kind", info.kind),
            ("aliases", ", ".join(info.aliases)),
            ("from", info.origin),
            *(("setting", name) for name in settings.variable_names(entry.cls.Settings, prefix)),
        ],
    )
    say("\nvalue:")
    console().print_json(orjson.dumps(info.value_schema).decode())


def _show_outcome(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        option = orjson.OPT_NON_STR_KEYS
        say(orjson.dumps(outcome, default=str, option=option).decode())
        return
    say(f"{outcome.status}/{outcome.result}: {outcome.message}")
    if outcome.details:
        table(("DETAIL", ""), outcome.details.items())
