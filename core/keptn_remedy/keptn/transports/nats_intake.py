"""Events from NATS: read, stored, and acknowledged where a stream waits for that."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.client import JetStreamContext
from nats.js.errors import FetchTimeoutError, NotFoundError

from keptn_remedy import events
from keptn_remedy.keptn.transports import Accept, Receipt
from keptn_remedy.keptn.transports.nats_client import jetstream_of
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock
from keptn_remedy.support.metrics import Metrics

# The ends of problems, and of sequences with the usual name (docs/keptn.md#k41).
ENDINGS = (events.PROBLEM, "sh.keptn.event.*.remediation.finished")
AT_ONCE = 256
MOST_PENDING_BYTES = 32 * 1024**2
JOURNAL_PAUSE_SECONDS = 1.0
FETCH_SECONDS, HEARTBEAT_SECONDS, BATCH = 5.0, 1.0, 64
EMPTY_PAUSE_SECONDS = 1.0
ACK_WAIT_SECONDS = 30.0
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
        self._others = (*ENDINGS, *others)
        self._queue = queue
        self._stream = stream
        self._clock = clock
        self._metrics = metrics
        self._room = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._subscriptions: list[Subscription] = []
        self._pullers: list[asyncio.Task[None]] = []

    async def subscribe(self, client: Client, accept: Accept) -> None:
        """Receive by this client; what an earlier one pulled from is left."""

        async def take(message: Msg) -> None:
            await self._room.acquire()
            task = asyncio.create_task(self._store(message, accept))
            self._tasks.add(task)
            task.add_done_callback(self._done)

        if self._stream:
            self.stop_pulling()
            jetstream = jetstream_of(client)
            for each in self.types:
                await self._have_consumer(jetstream, self._stream, each)
            self._pullers = [
                asyncio.create_task(self._pull(jetstream, self._stream, each, accept))
                for each in self.types
            ]
        subjects = self._others if self._stream else (*self.types, *self._others)
        self._subscriptions = [
            await client.subscribe(  # pyright: ignore[reportUnknownMemberType]
                subject, queue=self._queue, cb=take, pending_bytes_limit=MOST_PENDING_BYTES
            )
            for subject in subjects
        ]
        await client.flush()

    def stop_pulling(self) -> None:
        """Take no more from the stream."""
        for each in self._pullers:
            each.cancel()
        self._pullers = []

    async def drain(self) -> None:
        """Store what has arrived, and receive nothing more."""
        self.stop_pulling()
        with suppress(NatsError, OSError, TimeoutError):
            async with asyncio.timeout(DRAIN_SECONDS):
                await asyncio.gather(*(_drained(each) for each in self._subscriptions))
                await asyncio.gather(*self._tasks)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._room.release()

    async def _store(self, message: Msg, accept: Accept) -> None:
        """Store one event. While the journal fails it stays in our hands: nobody sends it again."""
        while (await self._receipt(message, accept)).kind == "unavailable":
            await self._clock.sleep(JOURNAL_PAUSE_SECONDS)

    async def _receipt(self, message: Msg, accept: Accept) -> Receipt:
        try:
            event = events.read(_headers(message.headers), message.data)
        except events.NotACloudEvent as error:
            self._metrics.events("invalid").inc()
            logs.logger().warning("not a CloudEvent", subject=message.subject, detail=error.reason)
            return Receipt("ignored", error.reason)
        receipt = await accept(event)
        self._metrics.events(receipt.kind).inc()
        return receipt

    # From a stream

    def _consumer(self, event_type: str) -> str:
        """Its name. That of `action` is the queue's alone."""
        if event_type == events.TRIGGERED:
            return self._queue
        return f"{self._queue}-{event_type.split('.')[-2]}"

    async def _have_consumer(
        self, jetstream: JetStreamContext, stream: str, event_type: str
    ) -> None:
        consumer = self._consumer(event_type)
        try:
            found = (await jetstream.consumer_info(stream, consumer)).config
        except NotFoundError:
            found = ConsumerConfig(
                durable_name=consumer,
                filter_subject=event_type,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_SECONDS,
                deliver_policy=DeliverPolicy.NEW,
            )
            await jetstream.add_consumer(stream, found)  # pyright: ignore[reportUnknownMemberType]
        # Whoever made it otherwise meant to: two releases would change it to and fro.
        if found.filter_subject != event_type:
            logs.logger().error(
                "the consumer of the stream brings other events",
                stream=stream,
                consumer=consumer,
                filter=found.filter_subject or found.filter_subjects,
            )

    async def _pull(
        self, jetstream: JetStreamContext, stream: str, event_type: str, accept: Accept
    ) -> None:
        """Store what the consumer has, until cancelled. One that was deleted is made again."""
        reported: str | None = None
        while True:
            try:
                await self._have_consumer(jetstream, stream, event_type)
                consumer = await jetstream.pull_subscribe_bind(self._consumer(event_type), stream)
                await self._pull_all(consumer, accept)
            except (NatsError, TimeoutError) as error:
                if repr(error) != reported:
                    logs.logger().warning("the stream can't be read", reason=repr(error))
                reported = repr(error)
            await self._clock.sleep(EMPTY_PAUSE_SECONDS)

    async def _pull_all(self, consumer: JetStreamContext.PullSubscription, accept: Accept) -> None:
        """As `_pull`, until nothing comes of it: then the consumer may be gone."""
        try:
            while found := await _fetched(consumer):
                await asyncio.gather(*(self._store_and_ack(each, accept) for each in found))
        finally:
            with suppress(NatsError):
                await consumer.unsubscribe()

    async def _store_and_ack(self, message: Msg, accept: Accept) -> None:
        """Acknowledge what is stored, or never will be. The stream sends the rest again."""
        receipt = await self._receipt(message, accept)
        with suppress(NatsError):
            if receipt.kind != "unavailable":
                await message.ack()


async def _fetched(consumer: JetStreamContext.PullSubscription) -> list[Msg]:
    """What is there; waits for it. Empty where the consumer answers nothing."""
    while True:
        with suppress(FetchTimeoutError):
            return await consumer.fetch(BATCH, timeout=FETCH_SECONDS, heartbeat=HEARTBEAT_SECONDS)


async def _drained(subscription: Subscription) -> None:
    await subscription.drain()  # type: ignore[no-untyped-call]


def _headers(found: Mapping[str, str] | None) -> dict[str, str]:
    """The headers of a message. Keptn's own have none, and are structured events."""
    headers = {name.lower(): value for name, value in (found or {}).items()}
    if not any(name.startswith("ce-") for name in headers):
        headers.setdefault("content-type", events.STRUCTURED)
    return headers
