#!/usr/bin/env bash
# limits 5.8.0: with a fixed window, a request that was refused uses up what the others may have.
#
# Guess: `hit` answers False and counts nothing: what was refused did not take place.
# Seen: FixedWindowRateLimiter adds the cost first and compares then. One request for 5 of 3 is
#   refused, and so is each request for 1 until the window ends, though none was ever admitted. A
#   moving window and a sliding counter count only what they admit.
# Do: call `test` before `hit`, or choose MovingWindowRateLimiter, where requests have a cost.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install limits==5.8.0

"$folder/venv/bin/python" - <<'PY'
import sys
from importlib.metadata import version

from limits import parse, strategies
from limits.storage import MemoryStorage

print("limits", version("limits"))
three_a_day = parse("3 per day")


def admitted(strategy):
    limiter = strategy(MemoryStorage())
    return limiter.hit(three_a_day, "scale", cost=5), limiter.hit(three_a_day, "scale", cost=1)


strategies_seen = (
    strategies.FixedWindowRateLimiter,
    strategies.MovingWindowRateLimiter,
    strategies.SlidingWindowCounterRateLimiter,
)
seen = {strategy.__name__: admitted(strategy) for strategy in strategies_seen}
recorded = {
    "FixedWindowRateLimiter": (False, False),
    "MovingWindowRateLimiter": (False, True),
    "SlidingWindowCounterRateLimiter": (False, True),
}
for name, (five, one) in seen.items():
    print(f"{name}: 5 of 3 admitted: {five}, then 1 of 3: {one}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
