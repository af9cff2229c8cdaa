"""`remedy sources`: checks sources.yaml and the remedies, and says in words what they mean."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from keptn_remedy import settings
from keptn_remedy.action import PermanentError
from keptn_remedy.cli.terminal import (
    FAILED,
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
from keptn_remedy.remediation.file import FILE, MAX_BYTES
from keptn_remedy.standalone import remedy_files
from keptn_remedy.standalone.promql import doubts, selectors
from keptn_remedy.standalone.rules import Remedy
from keptn_remedy.standalone.sources import SourcesError, SourcesFile, json_schema, unknown_channels
from keptn_remedy.standalone.words import deaf, explain
from keptn_remedy.support.variables import SettingsError


def schema() -> int:
    """Print the JSON Schema of sources.yaml; returns the exit code."""
    show_json(json_schema())
    return GOOD


def check(path: Path, remediations: Path | None, *, as_json: bool) -> int:
    """Say what is wrong with the files, or what they mean; returns the exit code."""
    try:
        sources = SourcesFile.load(path.read_text("utf-8"))
    except OSError as error:
        complain([f"can't read the sources: {reason(error)}"])
        return WRONG_USAGE
    except UnicodeDecodeError:
        return _bad([f"{path} is not UTF-8 text"], as_json=as_json)
    except SourcesError as error:
        return _bad([f"{path}: {mistake}" for mistake in error.mistakes], as_json=as_json)
    files = sorted(remediations.rglob(FILE)) if remediations else []
    mistakes, notes = _channels(sources), deaf(sources)
    for file in files:
        mistakes += _mistakes(file)
        notes += _notes(file, sources)
    if remediations and not files:
        notes.append(f"{remediations} has no {FILE}: no problem has a remedy")
    if mistakes:
        return _bad(mistakes, as_json=as_json)
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


def _channels(sources: SourcesFile) -> list[str]:
    """What is wrong with `escalate_to`, as far as the settings of this place name channels."""
    try:
        channels = read_channels(settings.load(os.environ)).entries
    except SettingsError:
        return []  # `remedy doctor` tells what is wrong with them
    return unknown_channels(sources, channels) if channels else []


def _bad(mistakes: list[str], *, as_json: bool) -> int:
    if as_json:
        say_json({"good": False, "mistakes": mistakes, "notes": [], "explained": []})
    complain(mistakes)
    return FAILED


def _mistakes(file: Path) -> Iterator[str]:
    try:
        found = _entries(file)
    except OSError as error:
        yield reason(error)
    except PermanentError as error:
        yield f"{file}: {error}"
    else:
        for problem_type, remedies in found:
            for remedy in remedies:
                for query in filter(None, (remedy.criterion.query, remedy.criterion.evidence)):
                    where = f"{file}: {problem_type!r}, {remedy.action}"
                    yield from (f"{where}: {each}" for each in doubts(query))
                    if not selectors(query):
                        yield f"{where}: {query[:100]!r} measures nothing"


def _notes(file: Path, sources: SourcesFile) -> Iterator[str]:
    """What is no mistake but will surprise: criteria that can't be answered here."""
    try:
        found = _entries(file)
    except (OSError, PermanentError):
        return
    if found and not any(map(sources.asked_by, sources.sources)):
        yield f"{file}: no prometheus is named, so the judge can't tell of any remedy"
    for problem_type, remedies in found:
        if not remedies:
            yield f"{file}: {problem_type!r} has no actions"


def _entries(file: Path) -> list[tuple[str, list[Remedy]]]:
    with file.open("rb") as content:
        return remedy_files.entries(content.read(MAX_BYTES + 1))
