"""`remedy send`: an event goes to a running provider, as the distributor would send it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout

from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    complain,
    printable,
    reason,
    say,
    say_json,
)
from keptn_remedy.events import STRUCTURED

# The distributor gives us as long (contract §9.1).
ANSWER_SECONDS = 5.0


def send(path: Path, to: str, *, new_id: bool, as_json: bool) -> int:
    """Send the event of a file and tell the answer; returns the exit code."""
    if urlsplit(to).scheme not in ("http", "https"):
        complain([f"--to: {to!r} is not an address like http://127.0.0.1:8080/"])
        return WRONG_USAGE
    try:
        body = _event(path, new_id=new_id)
    except OSError as error:
        complain([f"can't read an event from {reason(error)}"])
        return WRONG_USAGE
    except (ValueError, TypeError) as error:
        complain([f"can't give the event of {path} a new id: {error}"])
        return WRONG_USAGE
    try:
        status, text = asyncio.run(post(to, body))
    except (ClientError, TimeoutError) as error:
        complain([_unanswered(to, error)])
        return FAILED
    if as_json:
        say_json({"status": status, "answer": _parsed(text)})
    else:
        say(f"{status} {printable(text)}")
    return GOOD if status < 300 else FAILED


def _event(path: Path, *, new_id: bool) -> bytes:
    body = path.read_bytes()
    return orjson.dumps({**orjson.loads(body), "id": str(uuid4())}) if new_id else body


def _unanswered(to: str, error: Exception) -> str:
    if isinstance(error, ClientConnectorError):
        return f"nothing listens at {to} ({_refusal(error.os_error)}); start it with remedy serve"
    return f"{to} did not answer: {str(error) or type(error).__name__}"


def _refusal(error: OSError) -> str:
    if error.errno is None or error.errno < 0:  # from the resolver
        return reason(error)
    return os.strerror(error.errno)


def _parsed(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


async def post(to: str, body: bytes) -> tuple[int, str]:
    """The status and the text of the answer to one event."""
    async with (
        ClientSession(timeout=ClientTimeout(total=ANSWER_SECONDS)) as session,
        session.post(to, data=body, headers={"Content-Type": STRUCTURED}) as answer,
    ):
        return answer.status, (await answer.text()).strip()
