"""What nobody reads holds nobody up."""

import fcntl
import os
import sys
from collections.abc import Iterator

import pytest

from keptn_remedy.support import output
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.support.output import Queue

PIPE_BYTES = 4096
LINE = b"x" * 999 + b"\n"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that few bytes fill: the ends for reading and for writing."""
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    yield reading, writing
    os.close(reading)


def read(descriptor: int, size: int) -> bytes:
    found = b""
    while len(found) < size:
        found += os.read(descriptor, size - len(found))
    return found


def test_lines_come_in_order(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    queue = Queue(writing)
    for number in range(100):
        queue.write(b"%d\n" % number)
    assert queue.is_written(10)
    assert os.read(reading, PIPE_BYTES).split() == [b"%d" % number for number in range(100)]
    assert queue.dropped == 0


def test_a_reader_that_stops_costs_the_newest_lines_and_nothing_else(
    pipe: tuple[int, int],
) -> None:
    reading, writing = pipe
    queue = Queue(writing, max_bytes=20 * len(LINE))
    for _ in range(50):
        queue.write(LINE)
    assert queue.dropped == 30
    assert not queue.is_written(0.01)
    assert read(reading, 20 * len(LINE)) == LINE * 20
    assert queue.is_written(10)
    queue.write(b"again\n")
    assert read(reading, 6) == b"again\n"


def test_a_reader_that_left_costs_lines_and_nothing_else() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    queue = Queue(writing)
    for _ in range(3):
        queue.write(LINE)
        assert queue.is_written(10)
    assert queue.dropped == 3


def test_what_anybody_prints_does_not_block_and_what_is_lost_is_counted(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    metrics, before = Metrics("1"), output.dropped_lines()
    with open(pipe[1], "w", encoding="utf-8", closefd=False) as unread:
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, unread)
        with output.unblocked(flush_seconds=0.0):
            for stream in (sys.stdout, sys.stderr):
                for _ in range(6):
                    print("x" * 1_000_000, file=stream)  # what an author may do
        assert sys.stdout is unread
    lost = output.dropped_lines() - before
    assert lost > 0
    assert f"remedy_log_lines_dropped_total {before + lost:.1f}".encode() in metrics.exposition()[0]
