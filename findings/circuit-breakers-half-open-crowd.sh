#!/usr/bin/env bash
# circuitbreaker 2.1.3, aiobreaker 1.2.0, purgatory 3.0.1: a half-open circuit lets everybody through.
#
# Guess: when the waiting time is over, one call tries whether the peer has recovered. The others are
#   refused until that trial has ended.
# Seen: each of 50 callers that arrive during the trial reaches the peer, in all three libraries. A
#   peer that is about to recover meets its whole load at once.
# Do: hold a lock around the first call of a half-open circuit, or limit how many run at once.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  circuitbreaker==2.1.3 aiobreaker==1.2.0 purgatory==3.0.1

"$folder/venv/bin/python" - <<'PY'
import asyncio
import contextlib
import sys
from datetime import timedelta
from importlib.metadata import version

import aiobreaker
import circuitbreaker
import purgatory

print(*(f"{name} {version(name)}" for name in ("circuitbreaker", "aiobreaker", "purgatory")))
FAILURES, RECOVERY, CALLERS = 3, 1, 50


async def by_circuitbreaker():
    breaker = circuitbreaker.CircuitBreaker(FAILURES, RECOVERY)

    @breaker
    async def call(function):
        return await function()

    return call


async def by_aiobreaker():
    return aiobreaker.CircuitBreaker(FAILURES, timedelta(seconds=RECOVERY)).call_async


async def by_purgatory():
    factory = purgatory.AsyncCircuitBreakerFactory(FAILURES, RECOVERY)

    async def call(function):
        async with await factory.get_breaker("peer"):
            return await function()

    return call


async def reached(make):
    """How many callers reach the peer: while the circuit is open, and then at its trial."""
    call, arrived = await make(), []

    async def refuse():
        raise ConnectionError("refused")

    async def slow():
        arrived.append(1)
        await asyncio.sleep(0.5)
        raise ConnectionError("refused")

    async def crowd():
        arrived.clear()
        await asyncio.gather(*(call(slow) for _ in range(CALLERS)), return_exceptions=True)
        return len(arrived)

    for _ in range(FAILURES):
        with contextlib.suppress(Exception):
            await call(refuse)
    while_open = await crowd()
    await asyncio.sleep(RECOVERY + 0.2)
    return while_open, await crowd()


async def main():
    makers = {
        "circuitbreaker": by_circuitbreaker,
        "aiobreaker": by_aiobreaker,
        "purgatory": by_purgatory,
    }
    return {name: await reached(make) for name, make in makers.items()}


seen = asyncio.run(main())
recorded = {
    "circuitbreaker": (0, CALLERS),
    "aiobreaker": (0, CALLERS),
    "purgatory": (0, CALLERS),
}
for name, (while_open, at_trial) in seen.items():
    print(f"{name}: of {CALLERS} callers, {while_open} pass an open circuit, {at_trial} its trial")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
