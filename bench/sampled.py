"""`remedy serve`, whose event loop is sampled: `python -m bench.sampled FILE [--from-start]`.

SIGUSR1 begins, and the next one writes to FILE where the processor time went: in the thread of the
loop by area of the code, in every other thread as a whole. `--from-start` begins before anything
of ours is imported.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import FrameType

INTERVAL_SECONDS = 0.002
OTHER = "event loop"
FROM_START = "--from-start"
IMPORTS = "imports"
# By what the path of a file contains. The innermost frame that has an area decides; asyncio, json
# and the like belong to whoever calls them.
AREAS = {
    "<frozen importlib": IMPORTS,
    "keptn_remedy/http_server/": "HTTP server",
    "keptn_remedy/keptn/transports/http_receiver": "HTTP server",
    "aiohttp/web": "HTTP server",
    "aiohttp/client": "HTTP client",
    "aiohttp/connector": "HTTP client",
    "keptn_remedy/keptn/transports/distributor": "HTTP client",
    "nats/": "NATS",
    "keptn_remedy/keptn/transports/": "NATS",
    "keptn_remedy/support/logs": "logs and metrics",
    "structlog/": "logs and metrics",
    "keptn_remedy/support/metrics": "logs and metrics",
    "prometheus_client/": "logs and metrics",
    "keptn_remedy/events/": "CloudEvents",
    "keptn_remedy/journal/": "journal, in the loop",
    "keptn_remedy/keptn/outbox": "outbox",
    "keptn_remedy/support/workers": "outbox",
    "keptn_remedy/guardrails/": "rails",
    "keptn_remedy/engine/admission": "rails",
    "keptn_remedy/engine/": "engine",
    "keptn_remedy/keptn/": "intake",
    "keptn_remedy/registry": "intake",
}


class Sampler:
    """Counts the seconds of the main thread by what it was doing."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._others: dict[str, float] = {}
        self._last = 0.0
        self._is_on = False

    def switch(self, _: int, __: FrameType | None) -> None:
        """Begin, or stop and write."""
        self._is_on = not self._is_on
        if self._is_on:
            self._last, self._others = time.thread_time(), _of_other_threads()
            signal.setitimer(signal.ITIMER_PROF, INTERVAL_SECONDS, INTERVAL_SECONDS)
            return
        signal.setitimer(signal.ITIMER_PROF, 0)
        found = dict(self._seconds)
        for name, seconds in _of_other_threads().items():
            found[name] = seconds - self._others.get(name, 0.0)
        part = self._file.with_suffix(".part")
        part.write_text(json.dumps(found), "utf-8")
        part.replace(self._file)

    def sample(self, _: int, frame: FrameType | None) -> None:
        """Count what this thread has used since the last time: others tick the same clock."""
        now = time.thread_time()
        self._seconds[area(frame)] += now - self._last
        self._last = now


def area(frame: FrameType | None) -> str:
    """Whose code a frame runs."""
    while frame is not None:
        if frame.f_code.co_name == "<module>":  # it is being imported, whatever it is about
            frame = frame.f_back
            continue
        for part, found in AREAS.items():
            if part in frame.f_code.co_filename:
                return found
        frame = frame.f_back
    return OTHER


def _of_other_threads() -> dict[str, float]:
    return {
        f"thread {each.name}": time.clock_gettime(time.pthread_getcpuclockid(each.ident))
        for each in threading.enumerate()
        if each is not threading.main_thread() and each.ident is not None
    }


def main() -> None:
    sampler = Sampler(Path(sys.argv[1]))
    signal.signal(signal.SIGPROF, sampler.sample)
    signal.signal(signal.SIGUSR1, sampler.switch)
    if FROM_START in sys.argv:
        sampler.switch(signal.SIGUSR1, None)
    sys.argv = ["remedy", "serve"]
    from keptn_remedy.cli import main as remedy

    remedy()


if __name__ == "__main__":
    main()
