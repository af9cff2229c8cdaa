"""`remedy policy`: a policy file, checked and explained in words."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path

from keptn_remedy import registry
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    complain,
    is_terminal,
    printable,
    reason,
    say,
    say_json,
    show_json,
)
from keptn_remedy.guardrails import words
from keptn_remedy.guardrails.matching import has_glob
from keptn_remedy.guardrails.policy import Policy, PolicyError, json_schema


def schema() -> int:
    """Print the JSON Schema of a policy; returns the exit code."""
    show_json(json_schema())
    return GOOD


def check(path: Path, *, as_json: bool) -> int:
    """Say what is wrong with a policy, or what it means; returns the exit code."""
    try:
        policy = Policy.load(path.read_text("utf-8"))
    except OSError as error:
        complain([f"can't read a policy from {reason(error)}"])
        return WRONG_USAGE
    except UnicodeDecodeError:
        return _bad([f"{path} is not text in UTF-8"], as_json=as_json)
    except PolicyError as error:
        return _bad([f"{path}: {mistake}" for mistake in error.mistakes], as_json=as_json)
    _explain(path, words.explain(policy), as_json=as_json)
    complain(_strange_actions(policy))
    return GOOD


def _bad(mistakes: list[str], *, as_json: bool) -> int:
    if as_json:
        say_json({"good": False, "mistakes": mistakes, "explained": []})
    complain(mistakes)
    return FAILED


def _strange_actions(policy: Policy) -> Iterator[str]:
    """Actions that rules name and no installed package has; nothing is imported to find out."""
    installed = {registry.key(point.name) for point in entry_points(group=registry.ENTRY_POINTS)}
    for rule in policy.rules:
        for name in rule.match.action:
            if not has_glob([name]) and registry.key(name) not in installed:
                yield (
                    f"note: no installed package has an action {name!r}, as rule {rule.name!r}"
                    " says; it may be an alias, or come from REMEDY_ACTIONS_DIR"
                )


def _explain(path: Path, parts: list[words.Part], *, as_json: bool) -> None:
    if as_json:
        say_json({"good": True, "mistakes": [], "explained": list(map(asdict, parts))})
        return
    _say_folded(f"{path} is good. {words.ORDER}")
    for number, part in enumerate(parts, 1):
        say("")
        _say_folded(f"{number}. {part.rule}: {part.applies_to}")
        for sentence in part.holds:
            _say_folded(sentence, "  - ")


def _say_folded(text: str, bullet: str = "") -> None:
    """Within a terminal's width; as one line for programs."""
    line = bullet + printable(text)
    if not is_terminal():
        say(line)
        return
    width = shutil.get_terminal_size().columns
    say(textwrap.fill(line, width, subsequent_indent=" " * len(bullet), break_on_hyphens=False))
