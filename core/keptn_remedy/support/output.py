"""Standard output and error that never block: what is written waits in a bounded queue, and a
thread passes it on.

Whoever reads our output may stop reading: a log collector that hangs, a terminal on hold, a full
disk. A write to it then blocks, and would hold up events and signals.
"""

from __future__ import annotations

import io
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, TextIO, cast

MAX_QUEUED_BYTES = 4 * 1024**2
# Lines that come together are written together, which costs less than a write for each.
GATHER_SECONDS = 0.01
RETRY_SECONDS = 0.05
FLUSH_SECONDS = 1.0


class Queue(io.RawIOBase):
    """What waits to be written to a file descriptor. `dropped` counts what found no place, or could
    not be written: mostly lines.
    """

    def __init__(self, descriptor: int, max_bytes: int = MAX_QUEUED_BYTES) -> None:
        super().__init__()
        self.dropped = 0
        self._descriptor = descriptor
        self._max_bytes = max_bytes
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._pass_on, name="output", daemon=True).start()

    def write(self, data: Any, /) -> int:
        text = bytes(data)
        with self._changed:
            if self._bytes + len(text) > self._max_bytes:
                self.dropped += 1
                return len(text)
            self._waiting.append(text)
            self._bytes += len(text)
            if len(self._waiting) == 1:
                self._changed.notify_all()
        return len(text)

    def is_written(self, seconds: float) -> bool:
        """Wait until nothing is left to be written, at most so long; whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._bytes, seconds)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def _pass_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
            time.sleep(GATHER_SECONDS)
            with self._changed:
                taken = tuple(self._waiting)
                self._waiting.clear()
            left = b"".join(taken)
            size, failed = len(left), 0
            while left:
                try:
                    left = left[os.write(self._descriptor, left) :]
                except BlockingIOError:  # somebody else made it non-blocking
                    time.sleep(RETRY_SECONDS)
                except OSError:  # a full disk, a closed pipe
                    failed, left = len(taken), b""
            with self._changed:
                self.dropped += failed
                self._bytes -= size
                self._changed.notify_all()


_queues: list[Queue] = []


def dropped_lines() -> int:
    """How many lines the standard output and error of this process have lost."""
    return sum(queue.dropped for queue in _queues)


def flush(seconds: float = FLUSH_SECONDS) -> None:
    """Wait until everything is written, at most so long."""
    ends = time.monotonic() + seconds
    for queue in _queues:
        queue.is_written(max(0.0, ends - time.monotonic()))


@contextmanager
def unblocked(flush_seconds: float = FLUSH_SECONDS) -> Generator[None]:
    """Until the context is left, nothing blocks that is written to `sys.stdout` and `sys.stderr`,
    by us, by libraries or by the code of actions.
    """
    kept = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = _unblocked(sys.stdout), _unblocked(sys.stderr)
    try:
        yield
    finally:
        flush(flush_seconds)
        sys.stdout, sys.stderr = kept


def _unblocked(stream: TextIO) -> TextIO:
    try:
        descriptor = stream.fileno()
        stream.flush()
    except (AttributeError, OSError, ValueError):  # there is none, such as in a test
        return stream
    queue = Queue(descriptor)
    _queues.append(queue)
    return io.TextIOWrapper(
        cast("Any", queue),  # it only writes
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=True,
    )
