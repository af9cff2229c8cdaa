#!/usr/bin/env bash
# circuitbreaker 2.1.3: a call that a time-out ends counts as a success.
#
# Guess: a peer that hangs is the very fault a circuit breaker is for: each call that ends in
#   TimeoutError counts as a failure.
# Seen: `asyncio.timeout` around the call cancels it. CancelledError is no Exception, so the breaker
#   takes it for a success: two failures before it are forgotten, 20 time-outs leave the circuit
#   closed, and one time-out closes a circuit that was half open. With the time-out inside, each
#   counts as a failure.
# Do: put the time-out inside the function that the breaker guards.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install circuitbreaker==2.1.3

"$folder/venv/bin/python" - <<'PY'
import asyncio
import contextlib
import sys
from importlib.metadata import version

from circuitbreaker import CircuitBreaker

print("circuitbreaker", version("circuitbreaker"))
RECOVERY = 0.5


async def refuse():
    raise ConnectionError("refused")


async def hang():
    await asyncio.Event().wait()


async def hang_for_a_while():
    async with asyncio.timeout(0.02):
        await hang()


async def call(breaker, function, times):
    for _ in range(times):
        with contextlib.suppress(Exception):
            async with asyncio.timeout(0.02 if function is hang else None):
                await breaker(function)()


def breaker():
    return CircuitBreaker(failure_threshold=3, recovery_timeout=RECOVERY)


async def main():
    seen = {}
    outside, inside, open_one = breaker(), breaker(), breaker()
    await call(outside, refuse, 2)
    await call(outside, hang, 1)
    seen["failures after two refusals and a time-out"] = outside.failure_count
    await call(outside, hang, 20)
    seen["circuit after 20 time-outs outside"] = outside.state
    await call(inside, hang_for_a_while, 3)
    seen["circuit after 3 time-outs inside"] = inside.state
    await call(open_one, refuse, 3)
    while open_one.state == "open":
        await asyncio.sleep(0.05)
    seen["circuit before its trial"] = open_one.state
    await call(open_one, hang, 1)
    seen["circuit after its trial timed out"] = open_one.state
    return seen


seen = asyncio.run(main())
recorded = {
    "failures after two refusals and a time-out": 0,
    "circuit after 20 time-outs outside": "closed",
    "circuit after 3 time-outs inside": "open",
    "circuit before its trial": "half_open",
    "circuit after its trial timed out": "closed",
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
