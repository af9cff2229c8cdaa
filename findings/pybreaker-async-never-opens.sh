#!/usr/bin/env bash
# pybreaker 1.4.1, retrying 1.4.2, retry2 0.9.5: on an `async def` the decorator does nothing, silently.
#
# Guess: a decorator that can't hold for a coroutine function refuses it, as tenacity and backoff hold
#   for it.
# Seen: the circuit counts the making of each coroutine as a success. After 10 failures of 10 calls it
#   is closed, and has counted none. The two retries try once.
# Do: use a library for coroutines, and test that the circuit opens.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  pybreaker==1.4.1 retrying==1.4.2 retry2==0.9.5

"$folder/venv/bin/python" - <<'PY'
import asyncio
import sys
from importlib.metadata import version

import pybreaker
import retry
import retrying

print(*(f"{name} {version(name)}" for name in ("pybreaker", "retrying", "retry2")))
CALLS = 10
breaker = pybreaker.CircuitBreaker(fail_max=3, reset_timeout=600)
reached = dict.fromkeys(("circuit", "retrying", "retry2"), 0)


@breaker
async def by_circuit():
    reached["circuit"] += 1
    raise ConnectionError


@retrying.retry(stop_max_attempt_number=5)
async def by_retrying():
    reached["retrying"] += 1
    raise ConnectionError


@retry.retry(tries=5)
async def by_retry2():
    reached["retry2"] += 1
    raise ConnectionError


async def main():
    for call, times in ((by_circuit, CALLS), (by_retrying, 1), (by_retry2, 1)):
        for _ in range(times):
            try:
                await call()
            except ConnectionError:
                continue


asyncio.run(main())
print(f"of {CALLS} calls {reached['circuit']} reach the peer; the circuit is", end=" ")
print(f"{breaker.current_state}, with {breaker.fail_counter} failures")
print(f"attempts of 5: retrying {reached['retrying']}, retry2 {reached['retry2']}")
seen = (reached, breaker.current_state, breaker.fail_counter)
recorded = ({"circuit": CALLS, "retrying": 1, "retry2": 1}, "closed", 0)
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
