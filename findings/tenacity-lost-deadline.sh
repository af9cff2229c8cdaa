#!/usr/bin/env bash
# tenacity 9.2.1: "retry unless the error is permanent" retries past the deadline.
#
# Guess: `retry_if_not_exception_type(PermanentError)` is the mirror image of a list of
#   temporary errors. `asyncio.timeout` and `Task.cancel` end the call either way.
# Seen: a cancellation is an exception that is not a PermanentError. tenacity catches it and calls
#   again. The timeout block then ends late and without TimeoutError, and a cancelled task reports
#   success.
# Do: under asyncio, name the errors to retry: `retry_if_exception_type(TemporaryError)`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install tenacity==9.2.1

"$folder/venv/bin/python" - <<'PY'
import asyncio
import sys
from importlib.metadata import version

import tenacity

print("tenacity", version("tenacity"))


class PermanentError(Exception):
    pass


class TemporaryError(Exception):
    pass


async def deadline(predicate):
    """How a block with a deadline of 0.1 s around a call of 0.3 s ends, and the calls made."""
    calls = 0

    @tenacity.retry(retry=predicate, stop=tenacity.stop_after_attempt(3))
    async def work():
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.3)
        return "done"

    try:
        async with asyncio.timeout(0.1):
            outcome = await work()
    except TimeoutError:
        outcome = "TimeoutError"
    return outcome, calls


async def cancelled(predicate):
    """Whether a task that was cancelled during its call counts as cancelled."""
    call = tenacity.retry(retry=predicate, stop=tenacity.stop_after_attempt(3))(asyncio.sleep)
    task = asyncio.create_task(call(0.3))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait([task], timeout=5)
    return task.cancelled()


async def main():
    all_but = tenacity.retry_if_not_exception_type(PermanentError)
    only = tenacity.retry_if_exception_type(TemporaryError)
    return {
        "deadline, all but permanent": await deadline(all_but),
        "deadline, only temporary": await deadline(only),
        "task.cancelled(), all but permanent": await cancelled(all_but),
        "task.cancelled(), only temporary": await cancelled(only),
    }


seen = asyncio.run(main())
recorded = {
    "deadline, all but permanent": ("done", 2),
    "deadline, only temporary": ("TimeoutError", 1),
    "task.cancelled(), all but permanent": False,
    "task.cancelled(), only temporary": True,
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
