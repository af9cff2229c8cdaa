#!/usr/bin/env bash
# aiohttp-retry 2.9.1: the second attempt of an upload sends an empty body, and is told as a success.
#
# Guess: a repeated request is the same request. A body that can't be sent again raises an error.
# Seen: a BytesIO and an async generator are read up by the first attempt. After a 503 the second one
#   sends 0 bytes; the server stores them with 200, and the caller sees that 200.
# Do: give bytes or text as the body. They are sent whole each time.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  aiohttp-retry==2.9.1 aiohttp==3.14.5

"$folder/venv/bin/python" - <<'PY'
import asyncio
import io
import sys
from importlib.metadata import version

from aiohttp import web
from aiohttp_retry import ExponentialRetry, RetryClient

print("aiohttp-retry", version("aiohttp-retry"), "aiohttp", version("aiohttp"))
received = []
PLAN = b'{"replicas": 5}'


async def store(request):
    """Is busy at the first attempt, and takes the second."""
    received.append(len(await request.read()))
    return web.Response(status=503 if len(received) == 1 else 200)


async def chunks():
    yield PLAN


async def main():
    application = web.Application()
    application.router.add_put("/", store)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    seen = {}
    options = ExponentialRetry(attempts=2, start_timeout=0.1)
    bodies = {"bytes": PLAN, "BytesIO": io.BytesIO(PLAN), "generator": chunks()}
    async with RetryClient(retry_options=options) as client:
        for name, body in bodies.items():
            received.clear()
            async with client.put(url, data=body) as answer:
                seen[name] = (answer.status, *received)
    await runner.cleanup()
    return seen


seen = asyncio.run(main())
recorded = {"bytes": (200, 15, 15), "BytesIO": (200, 15, 0), "generator": (200, 15, 0)}
for name, (status, first, second) in seen.items():
    print(f"{name}: {first} bytes, then {second} bytes; the caller sees {status}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
