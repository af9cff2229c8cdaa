"""What the service logs, caught as the bytes that would go to stdout, and read back as JSON."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import orjson
import structlog

from keptn_remedy.support import logs
from keptn_remedy.support.masking import Mask

Line = dict[str, Any]


class LogLines:
    """The lines so far."""

    def __init__(self) -> None:
        self.stream = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)

    @property
    def raw(self) -> bytes:
        self.stream.flush()
        buffer = self.stream.buffer
        assert isinstance(buffer, io.BytesIO)
        return buffer.getvalue()

    @property
    def all(self) -> list[Line]:
        """Each line decoded; fails when one is no JSON object."""
        lines = [orjson.loads(line) for line in self.raw.split(b"\n") if line]
        assert all(isinstance(line, dict) for line in lines)
        return lines

    def at(self, *levels: str) -> list[Line]:
        return [line for line in self.all if line["logLevel"] in levels]

    def saying(self, message: str) -> list[Line]:
        return [line for line in self.all if line["message"] == message]


@contextmanager
def captured_logs(
    mask: Mask | None = None,
    *,
    level: str = "info",
    log_format: logs.LogFormat = "json",
    stream: TextIO | None = None,
) -> Iterator[LogLines]:
    """Log as the service does, into what is yielded or `stream`; afterwards all is as it was."""
    root, before = logging.getLogger(), structlog.get_config()
    handlers, root_level = root.handlers, root.level
    lines = LogLines()
    logs.configure(level, log_format, "keptn-remedy", mask or Mask(), stream or lines.stream)
    try:
        yield lines
    finally:
        logging.captureWarnings(False)
        root.handlers, root.level = handlers, root_level
        structlog.configure(**before)
