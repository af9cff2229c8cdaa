"""`remedy policy`: checks a policy file, and says in words what it means."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from keptn_remedy import registry, settings
from keptn_remedy.cli import checked_file
from keptn_remedy.cli.found_actions import discover
from keptn_remedy.cli.terminal import (
    GOOD,
    complain,
    say,
    say_folded,
    say_json,
    show_json,
)
from keptn_remedy.guardrails import words
from keptn_remedy.guardrails.calendar import Blackout
from keptn_remedy.guardrails.matching import has_glob
from keptn_remedy.guardrails.policy import Policy, PolicyError, json_schema
from keptn_remedy.registry import RegistryError
from keptn_remedy.support.near_names import near
from keptn_remedy.support.variables import SettingsError

_FOLDER = "REMEDY_ACTIONS_DIR"
_NOTHING: Mapping[str, Any] = {"notes": [], "explained": []}


def schema() -> int:
    """Print the JSON Schema of a policy; returns the exit code."""
    show_json(json_schema())
    return GOOD


def check(path: Path, *, as_json: bool) -> int:
    """Say what is wrong with a policy, or what it means; returns the exit code."""
    policy = checked_file.load(path, Policy.load, "policy", _NOTHING if as_json else None)
    if isinstance(policy, int):
        return policy
    notes = list(_notes(policy, time.time()))
    _explain(path, words.explain(policy), notes, as_json=as_json)
    complain(f"note: {note}" for note in notes)
    return GOOD


def _notes(policy: Policy, now: float) -> Iterator[str]:
    """What is no mistake but looks like one: blackouts that are over, and unknown actions."""
    yield from _over(policy, now)
    yield from _unknown(policy)
    yield from _unknown_channels(policy)


def _over(policy: Policy, now: float) -> Iterator[str]:
    for rule in policy.rules:
        for number, each in enumerate(rule.blackouts or (), 1):
            zone = ZoneInfo(each.timezone or policy.timezone)
            its = Blackout.of(each.start.start, each.end.end, zone, each.reason)
            if its.end <= now:
                yield f"rule {rule.name!r}, blackouts {number}: {its} is over; it refuses nothing"


def _unknown(policy: Policy) -> Iterator[str]:
    not_installed = list(_not_installed(policy))
    if not not_installed:
        return  # and nothing had to be imported to find that out
    try:
        found = discover(os.environ)
    except (SettingsError, RegistryError) as error:
        yield f"the rules' action names are unchecked, as the actions can't be loaded: {error}"
        return
    if found.broken:
        broken = "; ".join(map(str, found.broken))
        yield f"names of actions that can't be loaded are unchecked: {broken}"
        return
    for rule, action in not_installed:
        if found.entry(action) is None:
            spelled = [spelling for each in found.names.values() for spelling in each]
            yield (
                f"rule {rule!r} names the action {action!r}, which neither an installed package nor"
                f" {_FOLDER} provides: that name matches nothing{near(action, spelled)}"
            )


def _unknown_channels(policy: Policy) -> Iterator[str]:
    """Rules that name channels which the file of REMEDY_CHANNELS, where it is set, doesn't have."""
    if not (os.environ.get("REMEDY_CHANNELS") and any(rule.notify for rule in policy.rules)):
        return
    from keptn_remedy.notifications.set_up import read_channels

    try:
        read_channels(settings.load(os.environ)).routes.check(policy)
    except (SettingsError, PolicyError) as error:
        yield from error.mistakes


def _not_installed(policy: Policy) -> Iterator[tuple[str, str]]:
    """Rules and the actions they name, except those that an installed package registers."""
    installed = {registry.key(point.name) for point in entry_points(group=registry.ENTRY_POINTS)}
    for rule in policy.rules:
        for action in rule.match.action:
            if not has_glob([action]) and registry.key(action) not in installed:
                yield rule.name, action


def _explain(path: Path, parts: list[words.Part], notes: list[str], *, as_json: bool) -> None:
    if as_json:
        explained = list(map(asdict, parts))
        say_json({"good": True, "mistakes": [], "notes": notes, "explained": explained})
        return
    say_folded(f"{path} is valid. {words.ORDER}")
    for number, part in enumerate(parts, 1):
        say("")
        say_folded(f"{number}. {part.rule}: {part.applies_to}", rest="   ")
        for sentence in part.holds:
            say_folded(sentence, "  - ", "    ")
