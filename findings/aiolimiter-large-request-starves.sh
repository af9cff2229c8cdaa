#!/usr/bin/env bash
# aiolimiter 1.3.0: a large request waits for as long as small ones keep coming.
#
# Guess: `acquire(5)` waits until five are free. Requests are served in the order in which they came,
#   or at least each is served some time.
# Seen: each small request takes what has become free, so five are never free at once: one caller
#   that asks for 1 again and again, and came later, keeps the large request waiting until it stops.
#   The weight that should make a costly action rarer keeps it from ever being done.
# Do: acquire one unit five times, or give costly actions a limiter of their own.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install aiolimiter==1.3.0

"$folder/venv/bin/python" - <<'PY'
import asyncio
import sys
from importlib.metadata import version

from aiolimiter import AsyncLimiter

print("aiolimiter", version("aiolimiter"))
RATE, SMALL = 10, 100


async def acquire_large(limiter):
    await limiter.acquire(5)


async def acquire_by_ones(limiter):
    for _ in range(5):
        await limiter.acquire()


async def overtaken(costly):
    """How many small requests, each made after the last, are served before the costly one."""
    limiter = AsyncLimiter(RATE, 1)
    await limiter.acquire(RATE)
    waiting = asyncio.create_task(costly(limiter))
    await asyncio.sleep(0)  # the costly one asks first
    for served in range(SMALL):
        if waiting.done():
            return served
        await limiter.acquire()
    waiting.cancel()
    return SMALL


large, by_ones = asyncio.run(overtaken(acquire_large)), asyncio.run(overtaken(acquire_by_ones))
print(f"5 at once: {large} of {SMALL} small requests are served first")
print(f"5 one by one: {by_ones} of {SMALL} small requests are served first")
if large != SMALL or by_ones > SMALL // 2:
    sys.exit(f"This has changed. Recorded was: {SMALL}, and at most {SMALL // 2}")
PY
