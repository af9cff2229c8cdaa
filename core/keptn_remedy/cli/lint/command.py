"""The command itself: which file is which, and how its remarks are printed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

from keptn_remedy.action import PermanentError
from keptn_remedy.cli.found_actions import discover
from keptn_remedy.cli.lint import judging, remediation, shipyard
from keptn_remedy.cli.lint.nodes import File, below, parsed, text
from keptn_remedy.cli.lint.remarks import Remark, as_fields, as_github, as_sarif
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    complain,
    reason,
    say,
    say_folded,
    say_json,
)
from keptn_remedy.guardrails.policy import Policy, PolicyError
from keptn_remedy.registry import Registry, RegistryError
from keptn_remedy.remediation.file import entries
from keptn_remedy.standalone import remedy_files
from keptn_remedy.standalone.coverage import Entries
from keptn_remedy.support.variables import SettingsError

_LINE = re.compile(r"line (\d+): (.*)", re.DOTALL)


def lint(files: Sequence[Path], policy: Path | None, form: str) -> int:
    """Check files and print what is wrong; returns the exit code."""
    try:
        registry = discover(os.environ)
        found = list(_all(files, registry))
        found += _policy(policy) if policy else ()
    except OSError as error:
        complain([f"can't read a file: {reason(error)}"])
        return WRONG_USAGE
    except (SettingsError, RegistryError) as error:
        complain(error.mistakes)
        return WRONG_USAGE
    found.sort(key=lambda remark: (remark.path, remark.line, remark.column))
    _print(found, form)
    return FAILED if any(remark.level == "error" for remark in found) else GOOD


def _all(paths: Sequence[Path], registry: Registry) -> Iterator[Remark]:
    remedies: list[tuple[File, Entries]] = []
    rules: list[File] = []
    for path in paths:
        content = path.read_bytes()
        file = parsed(str(path), content)
        if isinstance(file, Remark):
            yield file
        elif text(below(file.root, "kind")) == "Shipyard" or below(file.root, "spec", "stages"):
            yield from shipyard.remarks(file)
        elif judging.is_of_rules(file):
            rules.append(file)
        else:
            yield from remediation.remarks(file, entries(content), registry)
            yield from judging.criteria(file, content)
            with suppress(PermanentError):
                remedies.append((file, remedy_files.entries(content)))
    yield from _together(remedies, rules)


def _together(remedies: Sequence[tuple[File, Entries]], rules: Sequence[File]) -> Iterator[Remark]:
    """What alerting rules and remedies are to each other, where both are given."""
    if not remedies:
        return
    alerting = [rule for file in rules for _, rule in judging.rules_in(file)]
    for file, listed in remedies:
        yield from judging.evidence(file, listed, alerting)
    for file in rules:
        yield from judging.coverage(file, [each for _, listed in remedies for each in listed])


def _policy(path: Path) -> Iterator[Remark]:
    try:
        Policy.load(path.read_text("utf-8"))
    except UnicodeDecodeError:
        yield Remark("policy", "error", str(path), 1, 1, "it is not UTF-8 text")
    except PolicyError as error:
        for mistake in error.mistakes:
            placed = _LINE.fullmatch(mistake)
            line, said = (int(placed[1]), placed[2]) if placed else (1, mistake)
            yield Remark("policy", "error", str(path), line, 1, said)


def _print(found: Sequence[Remark], form: str) -> None:
    match form:
        case "sarif":
            say(as_sarif(found, version("keptn-remedy")))
        case "github":
            for remark in found:
                say(as_github(remark))
        case "json":
            for remark in found:
                say_json(as_fields(remark))
        case _:
            for remark in found:
                say_folded(str(remark), rest="    ")
