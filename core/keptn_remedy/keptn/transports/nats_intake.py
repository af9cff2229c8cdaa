"""Events from NATS: taken from subscriptions and streams, and stored."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError

from keptn_remedy import events
from keptn_remedy.keptn.transports import Accept, Receipt
from keptn_remedy.keptn.transports.nats_stream import StreamReader, is_of_stream
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics
from keptn_remedy.support.workers import Workers

# The ends of problems, and of sequences with the usual name (docs/keptn.md#k41).
ENDINGS = (events.PROBLEM, "sh.keptn.event.*.remediation.finished")
AT_ONCE = 256
# What waits to be stored: here, where the end of a connection doesn't touch it, and in nats-py.
MOST_WAITING_BYTES = MOST_PENDING_BYTES = 16 * 1024**2
OBJECT_BYTES = 1024
JOURNAL_PAUSE_SECONDS = 1.0
DRAIN_SECONDS = 2.0


class NatsIntake:
    """Passes events to `accept`, at most 256 at a time: triggers of these `types`, endings, and
    `others`.

    Members of one `queue` share the events. With a `stream` triggers come from durable consumers of
    it, one for each type, and are acknowledged once they are stored; else what NATS delivers while
    nobody listens is lost, and taken up from Keptn's list.
    """

    def __init__(
        self,
        queue: str,
        stream: str | None,
        clock: Clock,
        metrics: Metrics,
        types: Sequence[str] = (events.TRIGGERED,),
        others: Sequence[str] = (),
    ) -> None:
        self.types = types
        self._queue = queue
        self._clock = clock
        self._metrics = metrics
        self._readers = [
            StreamReader(stream, _consumer(queue, each), each, self._take, clock)
            for each in types
            if stream
        ]
        self._accept: Accept = _nobody
        wanted = (*ENDINGS, *others) if stream else (*types, *ENDINGS, *others)
        self._subjects = tuple(dict.fromkeys(wanted))
        self._workers = Workers("an event", self._store_waiting, AT_ONCE)
        self._waiting_bytes = 0
        self._has_room = asyncio.Event()
        self._subscriptions: list[Subscription] = []

    @property
    def trouble(self) -> str | None:
        """Why nothing comes from the stream."""
        return next((each.trouble for each in self._readers if each.trouble), None)

    async def subscribe(self, client: Client, accept: Accept) -> None:
        """Receive by this client from now on."""
        self._accept = accept
        self._subscriptions = [
            await client.subscribe(  # pyright: ignore[reportUnknownMemberType]
                subject, queue=self._queue, cb=self._take, pending_bytes_limit=MOST_PENDING_BYTES
            )
            for subject in self._subjects
        ]
        await client.flush()
        for each in self._readers:
            await each.read_by(client)

    async def drain(self) -> None:
        """Store what has arrived, and receive nothing more."""
        await self.stop_reading()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                drains = (_drained(each) for each in self._subscriptions)
                await asyncio.gather(*drains, return_exceptions=True)
                await self._workers.until_done()

    async def stop_reading(self) -> None:
        """Take no more from the stream."""
        for each in self._readers:
            await each.stop()

    async def close(self) -> None:
        """Take no more, and leave what is not stored."""
        await self.stop_reading()
        await self._workers.cancel()

    async def _take(self, message: Msg) -> None:
        while self._waiting_bytes > MOST_WAITING_BYTES:
            self._has_room.clear()
            await self._has_room.wait()
        self._waiting_bytes += _size(message)
        self._workers.put(message)

    async def _store_waiting(self, message: Msg) -> None:
        try:
            await self._store(message)
        finally:
            self._waiting_bytes -= _size(message)
            self._has_room.set()

    async def _store(self, message: Msg) -> None:
        """Store one event. While the journal fails it stays in our hands, as nobody sends it again;
        a stream does, unless it is acknowledged.
        """
        is_of_a_stream = is_of_stream(message)
        while (await self._receipt(message)).kind == "unavailable":
            if is_of_a_stream:
                return
            await self._clock.sleep(JOURNAL_PAUSE_SECONDS)
        if is_of_a_stream:
            with suppress(NatsError):
                await message.ack()

    async def _receipt(self, message: Msg) -> Receipt:
        try:
            event = events.read(_headers(message.headers), message.data)
        except events.NotACloudEvent as error:
            self._metrics.events("invalid").inc()
            logs.logger().warning("not a CloudEvent", subject=message.subject, detail=error.reason)
            return Receipt("ignored", error.reason)
        receipt = await self._accept(event)
        self._metrics.events(receipt.kind).inc()
        return receipt


def _size(message: Msg) -> int:
    """Its payload and headers in bytes, and about what the objects take."""
    headers = message.headers or {}
    return len(message.data) + sum(map(len, (*headers, *headers.values()))) + OBJECT_BYTES


async def _nobody(event: events.Event) -> Receipt:
    return Receipt("unavailable", "nobody receives yet")


def _consumer(queue: str, event_type: str) -> str:
    """The name of the consumer of a type. That of `action` is the queue's alone."""
    return queue if event_type == events.TRIGGERED else f"{queue}-{event_type.split('.')[-2]}"


async def _drained(subscription: Subscription) -> None:
    await subscription.drain()  # type: ignore[no-untyped-call]


def _headers(found: Mapping[str, str] | None) -> dict[str, str]:
    """The headers of a message. Keptn's own have none, and are structured events."""
    headers = {name.lower(): value for name, value in (found or {}).items()}
    if not any(name.startswith("ce-") for name in headers):
        headers.setdefault("content-type", events.STRUCTURED)
    return headers
