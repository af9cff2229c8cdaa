"""A problem to play with: one `action.triggered` goes through a running provider."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import ClientError

from keptn_remedy.cli.sending import post
from keptn_remedy.events import TRIGGERED
from keptn_remedy.journal import JournalError
from keptn_remedy.service import Service

FLAG = "PromotionCampaign"
WAIT_SECONDS = 30.0
_LOOK_SECONDS = 0.02
_SCHEMA = "https://flagd.dev/schema/v0/flags.json"


class DemoFailed(Exception):
    """The problem could not be played to its end; the message says why."""


def seed_flags(path: Path) -> None:
    """A flag file to play with, unless there is one.

    Raises:
        OSError: it can't be written.
    """
    if not path.exists():
        _write(path, {"$schema": _SCHEMA, "flags": {FLAG: _on(), "Recommendations": _on()}})


async def play(provider: Service, event_url: str, flags: Path) -> None:
    """Switch the flag on, send the problem that switches it off, and wait for the outcome.

    Raises:
        DemoFailed: it wasn't accepted, or has not ended in time.
    """
    _begin_with_flag_on(flags)
    event_id = str(uuid4())
    await _send(event_url, event_id)
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            await _reported(provider, event_id)
    except TimeoutError:
        raise DemoFailed(f"{event_id} has not ended within {WAIT_SECONDS:g} s") from None
    except JournalError as error:
        raise DemoFailed(f"the journal can't be read: {error}") from None


def _begin_with_flag_on(path: Path) -> None:
    try:
        content = orjson.loads(path.read_bytes())
        content["flags"][FLAG] = _on()
        _write(path, content)
    except OSError as error:
        raise DemoFailed(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError):
        raise DemoFailed(
            f"{path} is not a flagd file; remove it, the next start makes one"
        ) from None


async def _send(event_url: str, event_id: str) -> None:
    try:
        status, text = await post(event_url, orjson.dumps(event(event_id)))
    except (ClientError, TimeoutError) as error:
        raise DemoFailed(f"{event_url}: {str(error) or type(error).__name__}") from None
    if status != 202:
        raise DemoFailed(f"{event_url} answered {status} {text}")


async def _reported(provider: Service, event_id: str) -> None:
    while True:
        record = await provider.journal.record(event_id)
        if record and record.reported_at:
            return
        await asyncio.sleep(_LOOK_SECONDS)


def event(event_id: str) -> dict[str, Any]:
    """What Keptn sends when the remediation of a problem comes to toggle-feature."""
    return {
        "specversion": "1.0",
        "id": event_id,
        "source": "shipyard-controller",
        "type": TRIGGERED,
        "datacontenttype": "application/json",
        "shkeptncontext": str(uuid4()),
        "data": {
            "project": "sockshop",
            "stage": "production",
            "service": "carts",
            "labels": {"Problem URL": "https://monitoring.example/problems/P-1"},
            "action": {
                "name": "Toggle feature flag",
                "action": "toggle-feature",
                "description": f"Switch {FLAG} off while carts fails.",
                "value": {FLAG: "off"},
            },
            "problem": {
                "State": "OPEN",
                "ProblemID": "P-1",
                "ProblemTitle": "Failure rate increase",
            },
        },
    }


def _on() -> dict[str, Any]:
    return {
        "state": "ENABLED",
        "variants": {"on": True, "off": False},
        "defaultVariant": "on",
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(content, option=orjson.OPT_INDENT_2))
