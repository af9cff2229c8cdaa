"""`remedy send`: an event goes to a running provider, as the distributor would send it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import orjson
from aiohttp import ClientError, ClientSession, ClientTimeout

from keptn_remedy.cli.terminal import FAILED, GOOD, WRONG_USAGE, complain, say
from keptn_remedy.events import STRUCTURED

# The distributor gives us as long (contract §9.1).
ANSWER_SECONDS = 5.0


def send(path: Path, to: str, *, new_id: bool) -> int:
    """Send the event of a file; returns the exit code."""
    try:
        body = path.read_bytes()
        if new_id:
            body = orjson.dumps({**orjson.loads(body), "id": str(uuid4())})
    except (OSError, ValueError, TypeError) as error:
        complain([f"can't read an event from {path}: {error}"])
        return WRONG_USAGE
    try:
        status, text = asyncio.run(post(to, body))
    except (ClientError, TimeoutError, ValueError) as error:
        complain([f"{to}: {str(error) or type(error).__name__}"])
        return FAILED
    say(f"{status} {text}")
    return GOOD if status < 300 else FAILED


async def post(to: str, body: bytes) -> tuple[int, str]:
    """The status and the text of the answer to one event."""
    async with (
        ClientSession(timeout=ClientTimeout(total=ANSWER_SECONDS)) as session,
        session.post(to, data=body, headers={"Content-Type": STRUCTURED}) as answer,
    ):
        return answer.status, await answer.text()
