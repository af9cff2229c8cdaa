"""HTTP/1.1 on a bare protocol: load and sink must cost much less than what they measure."""

from __future__ import annotations

import asyncio
import re
from abc import ABC, abstractmethod
from typing import cast

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)


class Messages(asyncio.Protocol, ABC):
    """Cuts what arrives into messages: a head, and a body of Content-Length bytes."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._rest += data
        while (end := self._rest.find(b"\r\n\r\n")) >= 0:
            head, body = self._rest[:end], end + 4
            length = _LENGTH.search(head)
            after = body + (int(length[1]) if length else 0)
            if len(self._rest) < after:
                return
            message, self._rest = self._rest[body:after], self._rest[after:]
            self.received(head, message)

    @abstractmethod
    def received(self, head: bytes, body: bytes) -> None:
        """One message is complete."""

    def send(self, message: bytes) -> None:
        """Write to the other side, if it is still there."""
        if self.transport is not None:
            self.transport.write(message)
