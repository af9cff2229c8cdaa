"""`remedy judge`: what the judge says of each action of a remediation.yaml, and why."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keptn_remedy import settings
from keptn_remedy.action import PermanentError
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    complain,
    reason,
    say_folded,
    show_json,
)
from keptn_remedy.remediation.file import MAX_BYTES
from keptn_remedy.standalone.errors import SourcesError
from keptn_remedy.standalone.remedy_files import entries, slo_of
from keptn_remedy.standalone.rules import Remedy
from keptn_remedy.standalone.sources import PrometheusServer, SourcesFile
from keptn_remedy.support.variables import SettingsError

_SAID = {True: "good", False: "bad", None: "can't tell"}
PARTS = 3
Entries = list[tuple[str, list[Remedy]]]


def judge(file: Path, at: str, alert: str, place: str, *, as_json: bool) -> int:
    """Show what the judge says; returns the exit code."""
    try:
        asked_at = _time(at)
        server, found = _read(file, place)
    except (ValueError, PermanentError, OSError) as error:
        complain([reason(error) if isinstance(error, OSError) else f"{error}"])
        return WRONG_USAGE
    except (SettingsError, SourcesError) as error:
        complain(error.mistakes)
        return WRONG_USAGE
    told = asyncio.run(_all(server, found, alert, asked_at))
    if as_json:
        show_json(told)
    else:
        for each in told:
            where = f"{each['problem']}, {each['action']} ({each['criterion']})"
            say_folded(f"{where}: {_SAID[each['good']]}: {each['reason']}", "", "  ")
    return FAILED if any(each["good"] is None for each in told) else GOOD


def _time(written: str) -> float | None:
    if not written:
        return None
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        said = f"--at must be a time, such as 2026-03-02T14:03:20Z, not {written}"
        raise ValueError(said) from None
    at = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if at > time.time():
        raise ValueError("--at lies in the future, which Prometheus answers with old values")
    return at


def _read(file: Path, place: str) -> tuple[PrometheusServer, Entries]:
    ours = settings.load(os.environ)
    try:
        sources = SourcesFile.load(ours.sources.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"REMEDY_SOURCES: can't read {reason(error)}") from None
    except SourcesError as error:
        raise SourcesError([f"{ours.sources}: {each}" for each in error.mistakes]) from None
    named = [sources.prometheus, *(each.prometheus for each in sources.sources.values())]
    server = next((each for each in named if each), None)
    if server is None:
        raise ValueError(f"{ours.sources} names no prometheus")
    try:
        with file.open("rb") as content:
            found = entries(content.read(MAX_BYTES + 1))
    except PermanentError as error:
        raise ValueError(f"{file}: {error}") from None
    if not any(remedies for _, remedies in found):
        raise ValueError(f"{file} has no action that could be judged")
    whose = _place(file, ours.remediations, place)
    return server, [(problem, [*_with_objectives(*whose, each)]) for problem, each in found]


def _with_objectives(
    folder: Path, place: Sequence[str], found: Iterable[Remedy]
) -> Iterator[Remedy]:
    for remedy in found:
        criterion = remedy.criterion
        if criterion.kind == "slo":
            criterion = replace(criterion, slo=slo_of(folder, place, {}))
        yield replace(remedy, criterion=criterion)


def _place(file: Path, remediations: Path, written: str) -> tuple[Path, Sequence[str]]:
    """The folder of remediations, and the place in it that the file is for."""
    if written:
        return remediations, tuple(filter(None, written.split("/")))[:PARTS]
    path, root = file.resolve(), remediations.resolve()
    if path.is_relative_to(root):
        return root, path.relative_to(root).parts[:-1][:PARTS]
    return path.parents[min(PARTS, len(path.parents) - 1)], path.parts[:-1][1:][-PARTS:]


async def _all(
    server: PrometheusServer, found: Entries, alert: str, at: float | None
) -> list[Mapping[str, Any]]:
    return [each async for each in _judged(server, found, alert, at)]


async def _judged(
    server: PrometheusServer, found: Entries, alert: str, at: float | None
) -> AsyncIterator[Mapping[str, Any]]:
    from keptn_remedy.http_client import lent_session
    from keptn_remedy.standalone.judge import Subject
    from keptn_remedy.standalone.judges import judges_of

    async with lent_session() as http:
        judging = judges_of(server, http, time.time, at)
        for problem, remedies in found:
            # No Alertmanager is asked: this is about the criterion.
            subject = Subject(alert or problem, {"alertname": alert or problem}, is_listed=False)
            for remedy in remedies:
                said = await judging.look(remedy.criterion, subject)
                yield {
                    "problem": problem,
                    "action": remedy.action,
                    "criterion": remedy.criterion.kind,
                    "good": said.good,
                    "value": said.value,
                    "reason": said.text,
                }
