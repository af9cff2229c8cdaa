"""`remedy send`: posts one event to a running service, as Keptn's distributor does."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import orjson
from aiohttp import ClientConnectorError, ClientError, ClientSession, ClientTimeout

from keptn_remedy.cli.desk import Desk
from keptn_remedy.cli.opened_journal import with_desk
from keptn_remedy.cli.order import LOOK_SECONDS, say_execution
from keptn_remedy.cli.terminal import (
    FAILED,
    GOOD,
    WRONG_USAGE,
    complain,
    reason,
    say_folded,
    say_json,
)
from keptn_remedy.events import STRUCTURED
from keptn_remedy.events.cloud_event import is_object

# The distributor gives us as long (docs/keptn.md#k1).
ANSWER_SECONDS = 5.0
_WRONG_PORT = "this is not the event port; name it with --to"
_NOT_ACCEPTED = "the service did not accept the event; its answer says why"


def send(path: Path, to: str, *, new_id: bool, wait: bool, as_json: bool) -> int:
    """Send the event of a file and show the answer, perhaps the outcome as well; returns the exit
    code.
    """
    if not _is_address(to):
        complain([f"--to: {to!r} is not an HTTP address, such as http://127.0.0.1:8080/"])
        return WRONG_USAGE
    try:
        body = _event(path, new_id=new_id)
    except OSError as error:
        complain([f"can't read the event: {reason(error)}"])
        return WRONG_USAGE
    except ValueError as error:
        complain([f"--new-id: {path} must hold one event as a JSON object: {error}"])
        return WRONG_USAGE
    try:
        status, text = asyncio.run(post(to, body))
    except (ClientError, TimeoutError) as error:
        how = "start the service with remedy serve, or name its event port with --to"
        complain([f"can't send to {to}: {why_unanswered(error)}; {how}"])
        return FAILED
    if as_json:
        say_json({"status": status, "answer": _parsed(text)})
    else:
        say_folded(f"{status} {text}")
    if status < 300:
        return _wait(_id(body), as_json=as_json) if wait else GOOD
    complain([_WRONG_PORT if status in (404, 405) else _NOT_ACCEPTED])
    return FAILED


def _wait(execution_id: str, *, as_json: bool) -> int:
    """Wait until the execution has ended, and show how."""

    async def until_ended(desk: Desk) -> int:
        while True:
            record = await desk.record(execution_id)
            if record is None:
                complain(
                    [f"there is no execution {execution_id!r}: see --server and REMEDY_JOURNAL"]
                )
                return FAILED
            if record.state == "finished":
                break
            await asyncio.sleep(LOOK_SECONDS)
        if as_json:
            say_execution(record)
        else:
            say_folded(f"{record.status}/{record.result}: {record.message}")
        return FAILED if record.status != "succeeded" or record.result == "fail" else GOOD

    return with_desk(until_ended)


def _id(body: bytes) -> str:
    event = _parsed(body.decode("utf-8", "replace"))
    return str(event.get("id", "")) if is_object(event) else ""


def _is_address(to: str) -> bool:
    try:
        parts = urlsplit(to)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port beyond 65535, or a broken IPv6 address
        return False


def _event(path: Path, *, new_id: bool) -> bytes:
    body = path.read_bytes()
    if not new_id:
        return body
    event = orjson.loads(body)
    if not isinstance(event, dict):
        raise ValueError("it holds something else")  # noqa: TRY004  a mistake in the file
    return orjson.dumps({**event, "id": str(uuid4())})


def why_unanswered(error: Exception) -> str:
    """What `post` met instead of an answer."""
    if isinstance(error, ClientConnectorError):
        return _refusal(error.os_error)
    if isinstance(error, TimeoutError):
        return f"no answer within {ANSWER_SECONDS:g} s"
    return str(error) or "the connection broke before an answer"


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
    """Post one event; returns the status and the text of the answer.

    Raises:
        ClientError, TimeoutError: no answer came within 5 s.
    """
    async with (
        ClientSession(timeout=ClientTimeout(total=ANSWER_SECONDS)) as session,
        session.post(to, data=body, headers={"Content-Type": STRUCTURED}) as answer,
    ):
        return answer.status, (await answer.text()).strip()
