"""A Keptn for tests whose events go over a real NATS server."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from os import PathLike
from types import TracebackType
from typing import Any, Self

from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import StreamConfig

from keptn_remedy.events import LOG_ERROR
from keptn_remedy.keptn.transports.nats_client import OrderedClient, jetstream_of
from keptn_remedy.keptn.transports.nats_stream import StreamReader
from keptn_remedy.support.clock import Clock
from keptn_remedy.testing.fake_keptn import Answer, FakeKeptn, body_of
from keptn_remedy.testing.keptn_sidecar import decode
from keptn_remedy.testing.keptn_task import Release, text_of
from keptn_remedy.testing.nats_proxy import NatsProxy

_REPORTS = "sh.keptn.event.*.*"
_STREAM = "keptn"
_STREAMED = "sh.keptn.>"


class NatsKeptn(FakeKeptn):
    """Keptn's control plane on the NATS server of that address, which nobody else uses meanwhile.

    Triggers are published on their subject, and reports counted that are. A provider connects
    through a proxy, where the faults are. From release 0.14 Keptn has a stream; `stream` makes it,
    for a provider that reads from it.
    """

    _logs_finished = False

    def __init__(self, server: str, release: Release = "1.4", *, stream: bool = False) -> None:
        super().__init__(release)
        self._server = server
        self._has_stream = stream
        self._client = OrderedClient()
        self._seen: set[int] = set()
        self._reader = StreamReader(_STREAM, "fake-keptn", _REPORTS, self._hear_stream, Clock())
        self.proxy = NatsProxy(server)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.proxy.listen()
        await self._client.connect(self._server, max_reconnect_attempts=-1, reconnect_time_wait=0)
        if self._has_stream:
            made = StreamConfig(name=_STREAM, subjects=[_STREAMED])
            await jetstream_of(self._client).add_stream(made)  # pyright: ignore[reportUnknownMemberType]
            await self._reader.read_by(self._client)
        else:
            await self._client.subscribe(_REPORTS, cb=self._hear)  # pyright: ignore[reportUnknownMemberType]
            await self._client.flush()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.proxy.stop_listening()
        if self._has_stream:
            await self._reader.stop()
            await jetstream_of(self._client).delete_stream(_STREAM)
        await self._client.close()
        await super().__aexit__(kind, error, traceback)

    @property
    def environment(self) -> dict[str, str]:
        found = {
            "REMEDY_TRANSPORT": "nats",
            "REMEDY_KEPTN_API": self.url,
            "PUBSUB_URL": self.proxy.url,
        }
        return found | ({"REMEDY_NATS_STREAM": _STREAM} if self._has_stream else {})

    async def deliver(
        self, event: Mapping[str, Any] | bytes | PathLike[str], *, to: str = ""
    ) -> Answer:
        """Publish the event, after opening the task it triggers. Nobody says who received it."""
        body = body_of(event)
        decoded = decode(body) or {}
        self._tasks.add(decoded)
        if self._has_stream:
            await jetstream_of(self._client).publish(text_of(decoded, "type"), body)
        else:
            await self._client.publish(text_of(decoded, "type"), body)
            await self._client.flush()
        return Answer(202, b"")

    async def _hear_stream(self, message: Msg) -> None:
        """Count a message once, however often the stream sends it."""
        if message.metadata.sequence.stream not in self._seen:
            self._seen.add(message.metadata.sequence.stream)
            await self._hear(message)
        with suppress(NatsError):
            await message.ack()

    async def _hear(self, message: Msg) -> None:
        if message.subject.endswith(".triggered") or message.subject == LOG_ERROR:
            return
        self.posts += 1
        self._count(message.data)
        await self._announce()

    def drop_next(
        self, *, times: int = 1, counted: bool = False, event_type: str | None = None
    ) -> None:
        """End the connection at the next events (of that type), after counting them or before."""
        self.proxy.cut_next(times=times, passed_on=counted, subject=event_type)
