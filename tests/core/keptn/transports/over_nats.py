"""The NATS transport as its tests make it, and what they send over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import orjson

from keptn_remedy.events import TRIGGERED, Event, Replies, Report, read_structured, trigger_of
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.control_plane.error_log import ErrorLog
from keptn_remedy.keptn.transports import Receipt
from keptn_remedy.keptn.transports.direct_nats import DirectNats
from keptn_remedy.keptn.transports.nats_access import options_of
from keptn_remedy.keptn.transports.nats_connection import NatsConnection
from keptn_remedy.keptn.transports.nats_intake import NatsIntake
from keptn_remedy.settings import Settings
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.testing import triggered
from tests.clocks import HastyClock

QUEUE = "keptn-remedy"
DIRECT = "keptn_remedy.keptn.transports.direct_nats"
SLOW_MACHINE_SECONDS = 20.0


class Taken:
    """Accepts events, and answers `unavailable` as often as it is told. While it is shut nothing is
    answered.
    """

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.unavailable = 0
        self._is_open = asyncio.Event()
        self.open()

    def shut(self) -> None:
        self._is_open.clear()

    def open(self) -> None:
        self._is_open.set()

    async def accept(self, event: Event) -> Receipt:
        await self._is_open.wait()
        if self.unavailable:
            self.unavailable -= 1
            return Receipt("unavailable", "the journal can't be written")
        self.ids.append(event.id)
        return Receipt("accepted", event.id)


@asynccontextmanager
async def transport(
    url: str,
    taken: Taken,
    *,
    stream: str | None = None,
    types: Sequence[str] = (TRIGGERED,),
    first_connect_seconds: float = SLOW_MACHINE_SECONDS,
    **settings: Any,
) -> AsyncIterator[DirectNats]:
    """A transport that is connected, unless it can't be within those seconds."""
    config = Settings.model_validate({"transport": "nats", "nats_queue": QUEUE, **settings})
    clock = HastyClock()
    made = DirectNats(
        NatsConnection(partial(options_of, config, url), clock),
        NatsIntake(config.nats_queue_name, stream, clock, Metrics("test"), types),
        ErrorLog(ApiClient("http://127.0.0.1:1")),
        stream,
    )
    async with AsyncExitStack() as receiving:
        with patch(f"{DIRECT}.FIRST_CONNECT_SECONDS", first_connect_seconds):
            await receiving.enter_async_context(made.receive(taken.accept))
        yield made
    await made.close()


def event(**attributes: Any) -> tuple[str, bytes]:
    made = triggered("scale", 1) | attributes
    return str(made["id"]), orjson.dumps(made)


def report(kind: str = "started") -> Report:
    trigger = trigger_of(read_structured(orjson.dumps(triggered("scale", 1))))
    now = Clock().utc()
    replies = Replies("keptn-remedy")
    if kind == "started":
        return replies.started(trigger, now)
    if kind == "status.changed":
        return replies.status_changed(trigger, now)
    return replies.error_log(trigger, now, "it failed")
