"""`remedy actions`: which actions there are, which of them are on, and what each one takes."""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Iterator

import orjson
from pydantic import AliasChoices
from pydantic.fields import FieldInfo
from rich.table import Table
from rich.text import Text

from keptn_remedy import registry
from keptn_remedy.action import AnyAction, PlannedAction
from keptn_remedy.cli import value_fields
from keptn_remedy.cli.found_actions import discover, unknown
from keptn_remedy.cli.running_service import its_actions
from keptn_remedy.cli.server import ServerError
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    coloured,
    complain,
    console,
    is_terminal,
    printable,
    say,
    say_folded,
    say_json,
    table,
)
from keptn_remedy.events import ACTION
from keptn_remedy.ops.models import ActionInfo
from keptn_remedy.registry import Entry, RegistryError
from keptn_remedy.remediation.example import example
from keptn_remedy.support.near_names import near
from keptn_remedy.support.variables import SettingsError


def list_actions(name: str | None, *, as_json: bool) -> int:
    """Show all actions, or everything about one; returns the exit code."""
    try:
        running = asyncio.run(its_actions())
        if running:
            return _list_running(*running, name, as_json=as_json)
        found = discover(os.environ)
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE
    except ServerError as error:
        complain([str(error)])
        return FAILED
    if name is None:
        infos = list(map(_info, found.entries))
        _show_all([*infos, *map(ActionInfo.of_broken, found.broken)], as_json=as_json)
        return GOOD
    entry = found.entry(name)
    if entry is None:
        complain([unknown(found, name)])
        return FAILED
    _show_one(_info(entry), list(_settings(entry.cls)), as_json=as_json)
    return GOOD


def _list_running(url: str, infos: list[ActionInfo], name: str | None, *, as_json: bool) -> int:
    """Those of a running service, whose settings only its own machine knows."""
    if name is None:
        _show_all(infos, as_json=as_json)
        if not as_json and is_terminal():
            say_folded(f"These are the actions of the service at {url}.")
        return GOOD
    names = {
        registry.key(spelled): info for info in infos for spelled in (info.name, *info.aliases)
    }
    info = names.get(registry.key(name))
    if info is None:
        complain([f"the service at {url} has no action {name!r}{near(name, names)}"])
        return FAILED
    _show_one(info, [], as_json=as_json)
    return GOOD


def _info(entry: Entry) -> ActionInfo:
    return ActionInfo.of(entry, planned=issubclass(entry.cls, PlannedAction))


def _show_all(infos: list[ActionInfo], *, as_json: bool) -> None:
    if as_json:
        say_json([info.model_dump() for info in infos])
    elif is_terminal():
        _show_for_people(infos)
    else:
        table(
            ("ACTION", "STATE", "ALIASES", "WHAT IT DOES"),
            [
                (info.name, _state(info), ", ".join(info.aliases), _summary(info) or info.origin)
                for info in infos
            ],
        )


def _show_for_people(infos: list[ActionInfo]) -> None:
    made = Table(box=None, pad_edge=False, header_style="bold")
    made.add_column("ACTION", overflow="fold")
    made.add_column("STATE")
    made.add_column("WHAT IT DOES", overflow="fold")
    for info in infos:
        lines = [_summary(info) or info.origin]
        lines += [] if info.on else [f"Off: {info.off_because}"]
        lines += [f"Aliases: {', '.join(info.aliases)}"] if info.aliases else []
        lines += [f"Task: {info.task}"] if info.task not in (None, ACTION) else []
        lines += [f"Receives: {', '.join(info.subscriptions)}"] if info.subscriptions else []
        state = coloured("on" if info.on else "off")
        made.add_row(info.name, state, Text("\n".join(map(printable, lines))))
    console().print(made)


def _show_one(info: ActionInfo, rows: list[tuple[str, str, str]], *, as_json: bool) -> None:
    if as_json:
        say_json(info.model_dump())
        return
    facts = [
        ("action", info.name),
        ("state", _state(info)),
        ("kind", info.kind),
        ("aliases", ", ".join(info.aliases) or "none"),
        ("task", info.task) if info.task else ("receives", ", ".join(info.subscriptions)),
        ("from", info.origin),
        ("value", value_fields.in_words(info.value_schema)),
    ]
    table(("", ""), facts)
    say("")
    for paragraph in inspect.cleandoc(info.description).split("\n\n"):
        say_folded(" ".join(paragraph.split()))
    if fields := value_fields.fields(info.value_schema):
        say("")
        table(("FIELD OF THE VALUE", "TYPE", "DEFAULT", ""), fields)
    say("")
    say("In remediation.yaml:")
    for line in example(info.name, info.value_schema).splitlines():
        say(f"  {line}")
    _show_settings(rows)
    say("")
    say_folded(f"remedy actions {info.name} --json prints the JSON Schema of the value.")


def _show_settings(rows: list[tuple[str, str, str]]) -> None:
    if not rows:
        return
    say("")
    if not is_terminal():
        table(("SETTING", "DEFAULT", ""), rows)
        return
    console().print("SETTING", style="bold")
    for names, default, description in rows:
        say_folded(f"{names} ({default})" if default == "required" else _with(names, default))
        if description:
            say_folded(description, "    ", "    ")


def _with(names: str, default: str) -> str:
    return f"{names} (default: {default})" if default else names


def _summary(info: ActionInfo) -> str:
    """The first paragraph of its description."""
    return " ".join(info.description.partition("\n\n")[0].split())


def _state(info: ActionInfo) -> str:
    return "on" if info.on else f"off: {info.off_because}"


def _settings(cls: type[AnyAction]) -> Iterator[tuple[str, str, str]]:
    """Each setting's variables, its default and what it is for."""
    prefix = registry.env_prefix(cls)
    for name, field in getattr(cls.Settings, "model_fields", {}).items():
        alias = field.validation_alias
        choices = alias.choices if isinstance(alias, AliasChoices) else [alias or prefix + name]
        names = " or ".join(str(choice).upper() for choice in choices)
        yield names, _default(field), field.description or ""


def _default(field: FieldInfo) -> str:
    """As one writes it in a variable."""
    if field.is_required():
        return "required"
    default = field.get_default()
    if isinstance(default, float):
        return f"{default:g}"
    if isinstance(default, bool | list | tuple | dict):
        return orjson.dumps(default, default=str).decode() if default not in ([], (), {}) else ""
    return "" if default is None else str(default)
