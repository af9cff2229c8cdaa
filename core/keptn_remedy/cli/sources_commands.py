"""`remedy sources`: checks sources.yaml and the remedies, and says in words what they mean."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keptn_remedy import settings
from keptn_remedy.cli import checked_file
from keptn_remedy.cli.check_remedies import RemedyCheck
from keptn_remedy.cli.found_actions import discover, unknown
from keptn_remedy.cli.terminal import (
    GOOD,
    WRONG_USAGE,
    complain,
    reason,
    say,
    say_folded,
    say_json,
    show_json,
)
from keptn_remedy.notifications.set_up import read_channels
from keptn_remedy.registry import RegistryError
from keptn_remedy.standalone.alert_rules import read_rules
from keptn_remedy.standalone.sources import SourcesFile, json_schema, unknown_channels
from keptn_remedy.standalone.words import deaf, explain
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.variables import SettingsError


def schema() -> int:
    """Print the JSON Schema of sources.yaml; returns the exit code."""
    show_json(json_schema())
    return GOOD


def check(
    path: Path, remediations: Path | None, rules: Sequence[Path] = (), *, as_json: bool
) -> int:
    """Say what is wrong with the files, or what they mean; returns the exit code."""
    nothing: dict[str, Any] | None = {"notes": [], "explained": []} if as_json else None
    sources = checked_file.load(path, SourcesFile.load, "sources", nothing)
    if isinstance(sources, int):
        return sources
    mistakes, notes = _channels(sources), deaf(sources) + asyncio.run(_secrets(sources))
    try:
        known = [each for path in rules for each in read_rules(path)] if rules else None
    except (OSError, ValueError) as error:
        complain([reason(error) if isinstance(error, OSError) else str(error)])
        return WRONG_USAGE
    if remediations:
        found = RemedyCheck(remediations, sources, known)
        found.run()
        mistakes, notes = mistakes + found.mistakes, notes + found.notes
        notes += _unknown(found.actions)
    if mistakes:
        return checked_file.refuse(mistakes, nothing)
    lines = explain(sources)
    if as_json:
        say_json({"good": True, "mistakes": [], "notes": notes, "explained": lines})
    else:
        say_folded(f"{path} is valid.")
        for line in lines:
            say("")
            say_folded(line, "- ", "  ")
    complain(f"note: {note}" for note in notes)
    return GOOD


async def _secrets(sources: SourcesFile) -> list[str]:
    """What keeps a service from starting that finds the secrets as they are here. No mistakes of
    the file: a pipeline that checks it may well not have them.
    """
    from keptn_remedy.standalone.configuration import SourceSecret  # imports the network libraries

    clock = Clock()
    return [
        f"source {name}: here {why}; without a secret the service does not start"
        for name, source in sources.sources.items()
        if (why := await SourceSecret(source.secret_file, clock).why_unusable())
    ]


def _unknown(named: Mapping[str, str]) -> Iterator[str]:
    """Names of actions that are not installed here: the service may have others."""
    if not named:
        return
    try:
        found = discover(os.environ)
    except (SettingsError, RegistryError) as error:
        yield f"the names of actions are unchecked, as the actions can't be loaded: {error}"
        return
    for name, where in named.items():
        if found.entry(name) is None:
            yield f"{where}: {unknown(found, name)}"


def _channels(sources: SourcesFile) -> list[str]:
    """What is wrong with `escalate_to`, as far as the settings of this place name channels."""
    try:
        channels = read_channels(settings.load(os.environ)).entries
    except SettingsError:
        return []  # `remedy doctor` tells what is wrong with them
    return unknown_channels(sources, channels) if channels else []
