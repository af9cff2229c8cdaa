"""A Keptn for tests whose events go over a real NATS server."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from types import TracebackType
from typing import Any, Self

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import StreamConfig

from keptn_remedy.events import LOG_ERROR
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
        self._client = Client()
        self.proxy = NatsProxy(server)

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await self.proxy.listen()
        await self._client.connect(self._server)
        if self._has_stream:
            made = StreamConfig(name=_STREAM, subjects=[_STREAMED])
            await self._client.jetstream().add_stream(made)  # pyright: ignore[reportUnknownMemberType]
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
            await self._client.jetstream().delete_stream(_STREAM)  # pyright: ignore[reportUnknownMemberType]
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
        await self._client.publish(text_of(decoded, "type"), body)
        await self._client.flush()
        return Answer(202, b"")

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
