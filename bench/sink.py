"""Keptn's end of the line: takes every report, and tells which executions it has heard of."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal

from bench.wire import Messages

Kind = Literal["started", "finished"]

_LOOK_SECONDS = 0.01
_TYPE = re.compile(rb'"type":"sh\.keptn\.event\.action\.(started|finished)"')
_TRIGGER = re.compile(rb'"triggeredid":"([^"]+)"')
_TAKEN = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_LIST = b"GET /controlPlane/v1/event/triggered/"
_OPEN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
_UNKNOWN = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"


class Sink:
    """What was reported: the ids of the triggers, by kind of report. `silent`: it answers none."""

    def __init__(self, port: int) -> None:
        self.silent = False
        self.url = f"http://127.0.0.1:{port}/event"
        self._seen: dict[Kind, set[str]] = {"started": set(), "finished": set()}
        self._expected: dict[tuple[Kind, str], asyncio.Future[None]] = {}
        self._listed: list[dict[str, str]] = []

    def list_as_open(self, event_id: str) -> None:
        """Say from now on that Keptn waits for this trigger. Until then it can't be asked."""
        self._listed.append({"id": event_id})

    @property
    def open_list(self) -> bytes | None:
        """The list of open triggers as Keptn's API answers; None where it can't be asked."""
        return json.dumps({"events": self._listed}).encode() if self._listed else None

    def expect(self, kind: Kind, event_id: str) -> asyncio.Future[None]:
        """Done when that report of that trigger has arrived."""
        arrival = self._expected[kind, event_id] = asyncio.get_running_loop().create_future()
        return arrival

    async def until(self, kind: Kind, executions: int) -> None:
        """Wait for reports of that many different executions since `forget`."""
        while len(self._seen[kind]) < executions:  # noqa: ASYNC110  (an Event for each count is no simpler)
            await asyncio.sleep(_LOOK_SECONDS)

    def forget(self) -> None:
        """Begin anew."""
        for ids in self._seen.values():
            ids.clear()
        self._expected.clear()
        self._listed.clear()

    def take(self, report: bytes) -> None:
        """Note one report."""
        found, trigger = _TYPE.search(report), _TRIGGER.search(report)
        if found is None or trigger is None:
            return  # a floor's
        event_id = trigger[1].decode()
        kind: Kind = "started" if found[1] == b"started" else "finished"
        self._seen[kind].add(event_id)
        arrival = self._expected.pop((kind, event_id), None)
        if arrival is not None and not arrival.done():
            arrival.set_result(None)


class _Reporter(Messages):
    def __init__(self, sink: Sink) -> None:
        super().__init__()
        self._sink = sink

    def received(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET "):
            listed = self._sink.open_list if head.startswith(_LIST) else None
            # It can't be asked what it counted, as an old Keptn.
            self.send(_OPEN % (len(listed), listed) if listed else _UNKNOWN)
            return
        self._sink.take(body)
        if not self._sink.silent:
            self.send(_TAKEN)


@asynccontextmanager
async def listening() -> AsyncIterator[Sink]:
    """A sink on a free port."""
    sinks: list[Sink] = []
    server = await asyncio.get_running_loop().create_server(
        lambda: _Reporter(sinks[0]), "127.0.0.1", 0
    )
    sinks.append(Sink(server.sockets[0].getsockname()[1]))
    try:
        yield sinks[0]
    finally:
        server.close()
