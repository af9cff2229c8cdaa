"""`remedy serve --demo`: plays one problem, whose remediation switches a flag off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
from aiohttp import ClientError

from keptn_remedy.cli.send_command import post, why_unanswered
from keptn_remedy.cli.terminal import reason
from keptn_remedy.events import TRIGGERED
from keptn_remedy.journal import JournalError, WholeRecord
from keptn_remedy.service import Service

FLAG = "PromotionCampaign"
WAIT_SECONDS = 30.0
_LOOK_SECONDS = 0.02
_SCHEMA = "https://flagd.dev/schema/v0/flags.json"


class DemoFailed(Exception):
    """The problem was not played to its end; the message says why."""


def seed_flags(path: Path) -> None:
    """Create a flag file for the demonstration, unless there is one.

    Raises:
        OSError: the file can't be written.
    """
    if not path.exists():
        _write(path, {"$schema": _SCHEMA, "flags": {FLAG: _on(), "Recommendations": _on()}})


async def play(provider: Service, event_url: str, flags: Path) -> WholeRecord:
    """Switch the flag on, send the problem that switches it off, and wait for the outcome.

    Raises:
        DemoFailed: the event was not accepted, or no outcome was reported within 30 s.
    """
    _begin_with_flag_on(flags)
    return await _sent(provider, event_url)


async def play_refusal(provider: Service, event_url: str) -> WholeRecord:
    """Pause, send the same problem again, and resume. Raises as `play`."""
    await provider.pauses.pause("the tour", "a person looks into carts")
    try:
        return await _sent(provider, event_url)
    finally:
        await provider.pauses.resume()


async def play_undo(provider: Service, execution_id: str) -> str:
    """Undo an execution; returns the message. Raises as `play`."""
    if why_not := await provider.journal.want_undo(execution_id, "an order", "the tour"):
        raise DemoFailed(f"{execution_id} is not undone: {why_not}")
    provider.engine.look()
    async with _in_time(f"no undo of {execution_id} ended"):
        while True:
            undo = await provider.journal.undo_of(execution_id)
            if undo and undo.ended_at:
                return undo.message or ""
            await asyncio.sleep(_LOOK_SECONDS)
    raise DemoFailed("the undo has no end")


async def _sent(provider: Service, event_url: str) -> WholeRecord:
    event_id = str(uuid4())
    await _send(event_url, event_id)
    async with _in_time(f"no outcome of {event_id} was reported"):
        return await _reported(provider, event_id)
    raise DemoFailed("the execution has no end")


@asynccontextmanager
async def _in_time(what: str) -> AsyncGenerator[None]:
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            yield
    except TimeoutError:
        raise DemoFailed(f"{what} within {WAIT_SECONDS:g} s") from None
    except JournalError as error:
        raise DemoFailed(f"the journal can't be read: {error}") from None


def _begin_with_flag_on(path: Path) -> None:
    try:
        content = orjson.loads(path.read_bytes())
        content["flags"][FLAG] = _on()
        _write(path, content)
    except OSError as error:
        raise DemoFailed(f"can't use the flags in {reason(error)}") from None
    except (ValueError, KeyError, TypeError):
        raise DemoFailed(
            f"{path} is not a flagd file; remove it: the next start creates one"
        ) from None


async def _send(event_url: str, event_id: str) -> None:
    try:
        status, text = await post(event_url, orjson.dumps(event(event_id)))
    except (ClientError, TimeoutError) as error:
        raise DemoFailed(f"can't send to {event_url}: {why_unanswered(error)}") from None
    if status != 202:
        raise DemoFailed(f"{event_url} answered {status} {text}")


async def _reported(provider: Service, event_id: str) -> WholeRecord:
    while True:
        record = await provider.journal.record(event_id)
        if record and record.reported_at:
            return record
        await asyncio.sleep(_LOOK_SECONDS)


def event(event_id: str) -> dict[str, Any]:
    """The event that Keptn sends when a remediation reaches toggle-feature."""
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
