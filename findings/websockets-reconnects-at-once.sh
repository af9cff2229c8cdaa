#!/usr/bin/env bash
# websockets 17.4: the reconnecting iterator knows no pause when the server closes what it accepted.
#
# Guess: `async for websocket in connect(...)` reconnects with an exponential backoff,
#   as documented.
# Seen: the backoff is for connections that can't be opened. A server that accepts each connection
#   and closes it at once, as one does that drains, is full or can't reach what is behind it, is
#   connected to again without a pause: over a hundred times in a second, by each client. A server
#   that refuses connections sees few attempts.
# Do: sleep before the next round of the loop, longer each time that the connection was short.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install websockets==17.4

"$folder/venv/bin/python" - <<'PY'
import asyncio
import http
import sys
from importlib.metadata import version

from websockets import ConnectionClosed
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve

print("websockets", version("websockets"))
SECONDS = 5


async def attempts(closes):
    """How often one client connects within SECONDS."""
    count = 0

    def before(connection, _request):
        nonlocal count
        count += 1
        if not closes:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "")

    async def close(websocket):
        await websocket.close(1013, "try again later")

    async def client(url):
        async for websocket in connect(url):
            try:
                async for _message in websocket:
                    pass
            except ConnectionClosed:
                continue

    async with serve(close, "127.0.0.1", 0, process_request=before) as server:
        port = server.sockets[0].getsockname()[1]
        try:
            async with asyncio.timeout(SECONDS):
                await client(f"ws://127.0.0.1:{port}")
        except TimeoutError:
            return count


refused, closed = asyncio.run(attempts(closes=False)), asyncio.run(attempts(closes=True))
print(f"in {SECONDS} s: {refused} attempts at a server that refuses with 503")
print(f"in {SECONDS} s: {closed} attempts at a server that accepts, and closes with 1013")
if refused > 5 or closed < 100:
    sys.exit("This has changed. Recorded was: at most 5, and at least 100")
PY
