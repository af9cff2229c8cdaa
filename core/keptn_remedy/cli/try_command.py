"""`remedy try`: one action runs once, without Keptn and without a service."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson

from keptn_remedy import events, service
from keptn_remedy.action import Outcome, ReadFiles
from keptn_remedy.cli.found_actions import discover, unknown
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    clean_up_on_interrupt,
    complain,
    leave_summaries_out,
    say_folded,
    say_json,
    show_json,
)
from keptn_remedy.guardrails.defaults import replica_settings
from keptn_remedy.guardrails.policy import Policy, PolicyError
from keptn_remedy.keptn import resources
from keptn_remedy.keptn.control_plane.absent import NoControlPlane
from keptn_remedy.registry import Entry, Registry, RegistryError
from keptn_remedy.support import event_loop, logs, variables
from keptn_remedy.support.masking import Mask, secrets_of
from keptn_remedy.support.variables import SettingsError

DRY_RUN_SECONDS = 30.0


def try_action(
    name: str,
    value: str,
    scope: Mapping[str, str],
    policy_file: Path | None = None,
    *,
    apply: bool,
    as_json: bool,
) -> int:
    """Run an action once and show its outcome; returns the exit code."""
    try:
        parsed = orjson.loads(value)
    except orjson.JSONDecodeError as error:
        complain([f"--value is not JSON: {error}", """put text in double quotes: '"off"'"""])
        return WRONG_USAGE
    try:
        policy = Policy.load(policy_file.read_text("utf-8")) if policy_file else None
        found = discover(os.environ)
    except (SettingsError, RegistryError, PolicyError) as error:
        complain(error.mistakes)
        return WRONG_USAGE
    except (OSError, UnicodeDecodeError) as error:
        complain([f"can't read the policy: {error}"])
        return WRONG_USAGE
    entry = found.entry(name)
    if entry is None or entry.off:
        off = f"the action {entry.name} is off: {entry.off}" if entry else ""
        complain([off or unknown(found, name)])
        return FAILED
    if entry.cls.subscriptions and not isinstance(parsed, dict | None):
        complain([f"--value must be a JSON object: {entry.name} receives the data of an event"])
        return WRONG_USAGE
    _log_to_stderr(found)
    trigger = _trigger(entry, name, parsed, scope)
    clean_up_on_interrupt()
    outcome = event_loop.run(_run(found, trigger, policy, dry_run=not apply))
    _show_outcome(outcome, as_json=as_json)
    return FAILED if outcome.is_failure else GOOD


def _log_to_stderr(found: Registry) -> None:
    """Warnings, such as attempts that failed, without the secrets of the settings."""
    settings_in_use = [entry.action.settings for entry in found.entries if entry.action]
    mask = Mask(secret for holder in settings_in_use for secret in secrets_of(holder))
    logs.configure("warning", "console", "keptn-remedy", mask, stream=sys.stderr)
    leave_summaries_out()


async def _run(
    found: Registry, trigger: events.ActionTriggered, policy: Policy | None = None, *, dry_run: bool
) -> Outcome:
    try:
        # A dry run changes nothing, so it may be cut off; what is applied must run to its end.
        async with asyncio.timeout(DRY_RUN_SECONDS if dry_run else None):
            replicas = replica_settings(variables.read(os.environ))
            return await service.run_once(
                found, trigger, dry_run=dry_run, replicas=replicas, files=_files(), policy=policy
            )
    except TimeoutError:
        return Outcome.errored(
            f"no plan within {DRY_RUN_SECONDS:g} s; a running service would keep trying"
        )
    finally:
        await found.close()


def _files() -> ReadFiles:
    """Reads files from `REMEDY_RESOURCES_DIR`; refuses where it isn't set."""
    folder = variables.read(os.environ).get("REMEDY_RESOURCES_DIR")
    nobody = NoControlPlane(Path(folder) if folder else None)
    return resources.files_of(nobody)


def _trigger(
    entry: Entry, name: str, value: Any, scope: Mapping[str, str]
) -> events.ActionTriggered:
    """What Keptn would send for the action; for a subscriber the value is all of the data."""
    task, subscriptions = entry.cls.task, entry.cls.subscriptions
    block = {"action": name, "value": value} if task == events.ACTION else value
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(uuid4()),
        "source": "remedy-try",
        "type": subscriptions[0] if subscriptions else events.event_type(task, "triggered"),
        "time": datetime.now(UTC).isoformat(),
        "shkeptncontext": str(uuid4()),
        "data": {**scope, **(value or {})} if subscriptions else {**scope, task: block},
    }
    body = orjson.dumps(event)
    if subscriptions:
        return events.for_subscriber(events.read_structured(body), entry.name)
    return events.stored_trigger(body)


def _show_outcome(outcome: Outcome, *, as_json: bool) -> None:
    if as_json:
        say_json(outcome)
        return
    say_folded(f"{outcome.status}/{outcome.result}: {outcome.message}")
    if outcome.details:
        show_json(outcome.details)
