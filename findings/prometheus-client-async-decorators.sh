#!/usr/bin/env bash
# prometheus_client 0.26.0: on an `async def` the decorators measure nothing.
#
# Guess: `@histogram.time()`, `@counter.count_exceptions()` and `@gauge.track_inprogress()` measure
#   the coroutine, or refuse it.
# Seen: they measure the call that makes the coroutine object: microseconds, no exception, nothing
#   in progress. A handler that takes long and fails looks quick and sound. As context managers the
#   three are right, except that `count_exceptions` doesn't count a call that a time-out ends.
# Do: use `with` inside the function, and `count_exceptions(BaseException)`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install prometheus_client==0.26.0

"$folder/venv/bin/python" - <<'PY'
import asyncio
import sys
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

print("prometheus_client", version("prometheus_client"))
TAKES = 0.5


class Metrics:
    def __init__(self):
        self.registry = CollectorRegistry()
        self.seconds = Histogram("seconds", "", registry=self.registry)
        self.failures = Counter("failures", "", registry=self.registry)
        self.running = Gauge("running", "", registry=self.registry)

    def value(self, name):
        return self.registry.get_sample_value(name)


def decorated(metrics):
    @metrics.seconds.time()
    @metrics.failures.count_exceptions()
    @metrics.running.track_inprogress()
    async def handle():
        await asyncio.sleep(TAKES)
        raise ConnectionError

    return handle


def managed(metrics):
    async def handle():
        with (
            metrics.seconds.time(),
            metrics.failures.count_exceptions(),
            metrics.running.track_inprogress(),
        ):
            await asyncio.sleep(TAKES)
            raise ConnectionError

    return handle


async def failing(make):
    """What is measured of one call that takes TAKES seconds and fails."""
    metrics = Metrics()
    task = asyncio.create_task(make(metrics)())
    await asyncio.sleep(TAKES / 2)
    running = metrics.value("running")
    await asyncio.wait([task])
    assert isinstance(task.exception(), ConnectionError)
    slow = metrics.value("seconds_sum") >= TAKES / 2
    return {"running": running, "slow": slow, "failures": metrics.value("failures_total")}


async def timed_out():
    metrics = Metrics()
    try:
        async with asyncio.timeout(TAKES / 10):
            await managed(metrics)()
    except TimeoutError:
        return metrics.value("failures_total")


seen = {
    "decorators": asyncio.run(failing(decorated)),
    "context managers": asyncio.run(failing(managed)),
    "failures, after a time-out": asyncio.run(timed_out()),
}
recorded = {
    "decorators": {"running": 0.0, "slow": False, "failures": 0.0},
    "context managers": {"running": 1.0, "slow": True, "failures": 1.0},
    "failures, after a time-out": 0.0,
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
