"""`remedy actions` and `remedy try`: what there is to act with, and trying it without Keptn."""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from uuid import uuid4

import orjson
from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from keptn_remedy import events, registry, service, settings
from keptn_remedy.action import AnyAction, Outcome, PlannedAction
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    clean_up_on_interrupt,
    complain,
    leave_summaries_out,
    printable,
    say,
    say_json,
    show_json,
    table,
)
from keptn_remedy.guardrails.defaults import replica_settings
from keptn_remedy.ops.models import ActionInfo
from keptn_remedy.registry import Entry, Registry, RegistryError
from keptn_remedy.support import logs, variables
from keptn_remedy.support.masking import Mask, secrets_of
from keptn_remedy.support.variables import SettingsError

DRY_RUN_SECONDS = 30.0


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
    entry = _named(found, name)
    if entry is None:
        complain([_unknown(found, name)])
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
        complain([f"--value is not JSON: {error}", """text needs quotes of its own: '"off"'"""])
        return WRONG_USAGE
    try:
        found = discover(os.environ)
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE
    entry = _named(found, name)
    if entry is None or entry.off:
        complain([f"{entry.name} is off: {entry.off}" if entry else _unknown(found, name)])
        return FAILED
    _log_to_stderr(found)
    trigger = events.stored_trigger(_event(name, parsed, scope))
    clean_up_on_interrupt()
    outcome = asyncio.run(_run(found, trigger, dry_run=not apply))
    _show_outcome(outcome, as_json=as_json)
    return FAILED if outcome.is_failure else GOOD


def discover(environ: Mapping[str, str]) -> Registry:
    """The actions as the service would find them.

    Raises:
        SettingsError, RegistryError: with one line per mistake.
    """
    config, found = settings.load(environ), variables.read(environ)
    return registry.discover(found, switched_on=config.actions, folder=config.actions_dir)


def _named(found: Registry, name: str) -> Entry | None:
    """The action of that name or alias, on or off."""
    wanted = registry.key(name)
    for entry in found.entries:
        if wanted in map(registry.key, (entry.name, *entry.cls.aliases)):
            return entry
    return None


def _unknown(found: Registry, name: str) -> str:
    names = ", ".join(entry.name for entry in found.entries)
    return f"there is no action {name!r}; there are: {names}"


def _log_to_stderr(found: Registry) -> None:
    """What goes wrong on the way, such as attempts that failed."""
    settings_in_use = [entry.action.settings for entry in found.entries if entry.action]
    mask = Mask(secret for holder in settings_in_use for secret in secrets_of(holder))
    logs.configure("warning", "console", "keptn-remedy", mask, stream=sys.stderr)
    leave_summaries_out()


async def _run(found: Registry, trigger: events.ActionTriggered, *, dry_run: bool) -> Outcome:
    try:
        # Nothing is lost when a mere look is broken off; what is applied must come to its end.
        async with asyncio.timeout(DRY_RUN_SECONDS if dry_run else None):
            replicas = replica_settings(variables.read(os.environ))
            return await service.run_once(found, trigger, dry_run=dry_run, replicas=replicas)
    except TimeoutError:
        return Outcome.errored(f"no plan within {DRY_RUN_SECONDS:g} s; a provider would try on")
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
        say_json([info.model_dump() for info in infos])
        return
    table(
        ("ACTION", "STATE", "ALIASES", "WHAT IT DOES"),
        [
            (
                info.name,
                _state(info),
                ", ".join(info.aliases),
                info.description.partition("\n")[0],
            )
            for info in infos
        ],
    )


def _show_one(entry: Entry, *, as_json: bool) -> None:
    info = _info(entry)
    if as_json:
        say_json(info.model_dump())
        return
    facts = [
        ("action", info.name),
        ("state", _state(info)),
        ("kind", info.kind),
        ("aliases", ", ".join(info.aliases) or "none"),
        ("from", info.origin),
    ]
    table(("", ""), facts)
    say("")
    for line in inspect.cleandoc(info.description).splitlines():
        say(printable(line))
    if rows := list(_settings(entry.cls)):
        say("")
        table(("SETTING", "DEFAULT", ""), rows)
    say("\nThe JSON schema of its value:")
    show_json(info.value_schema)


def _state(info: ActionInfo) -> str:
    return "on" if info.on else f"off: {info.off_because}"


def _settings(cls: type[AnyAction]) -> Iterator[tuple[str, str, str]]:
    """Each setting's variables, its default and what it is for."""
    prefix = registry.env_prefix(cls)
    for name, field in cls.Settings.model_fields.items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias or prefix + name]
        names = " or ".join(str(choice).upper() for choice in choices)
        yield names, _default(field), field.description or ""


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    default = field.get_default()
    return str(default).lower() if isinstance(default, bool) else str(default or "")


def _show_outcome(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        say_json(outcome)
        return
    say(f"{outcome.status}/{outcome.result}: {printable(outcome.message)}")
    if outcome.details:
        show_json(outcome.details)
