"""What a durable consumer of a stream has: asked for in batches, while there is room for it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import orjson
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy
from nats.js.errors import NotFoundError

from keptn_remedy.keptn.transports.nats_client import end, jetstream_of
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

BATCH = 64
# A request ends after this time, and is made again. While it waits the server gives signs of life.
REQUEST_SECONDS, HEARTBEAT_SECONDS, SILENCE_SECONDS = 5.0, 1.0, 3.0
PAUSE_SECONDS = 1.0
ACK_WAIT_SECONDS = 30.0
_REQUEST = orjson.dumps(
    {
        "batch": BATCH,
        "expires": int(REQUEST_SECONDS * 1e9),
        "idle_heartbeat": int(HEARTBEAT_SECONDS * 1e9),
    }
)
_STATUS, _DESCRIPTION, _UNUSED = "Status", "Description", "Nats-Pending-Messages"
_HEARTBEAT, _EXPIRED = "100", ("404", "408")
_FAILURES = (NatsError, OSError)
_ACK_SUBJECT = "$JS.ACK."


def is_of_stream(message: Msg) -> bool:
    """Whether a stream waits for an acknowledgement of it."""
    return message.reply.startswith(_ACK_SUBJECT)


class StreamReader:
    """Passes what the consumer has to `take`, which returns when there is room for more.

    nats-py's `fetch` costs two tasks for each message, and can't tell a consumer that was deleted
    from an empty one.
    """

    def __init__(
        self,
        stream: str,
        consumer: str,
        subject: str,
        take: Callable[[Msg], Awaitable[None]],
        clock: Clock,
    ) -> None:
        self.trouble: str | None = None
        self._stream = stream
        self._consumer = consumer
        self._subject = subject
        self._take = take
        self._clock = clock
        self._task: asyncio.Task[None] | None = None
        self._owed = 0
        self._heard_at = 0.0
        # Meanwhile nobody hears the server.
        self._waits_for_room = False
        self._end: Exception | None = None
        self._wake = asyncio.Event()

    async def read_by(self, client: Client) -> None:
        """Read by this client from now on."""
        await self.stop()
        try:
            await self._have_consumer(client)
        except _FAILURES as error:
            self._note(error)
        self._task = asyncio.create_task(self._run(client))

    async def stop(self) -> None:
        """Read no more. Requests that wait at the server are withdrawn."""
        if self._task:
            await end(self._task)
            self._task = None

    async def _run(self, client: Client) -> None:
        """Read until cancelled. A consumer that was deleted is made again."""
        while True:
            try:
                await self._read(client)
                await self._clock.sleep(PAUSE_SECONDS)
                await self._have_consumer(client)
            except _FAILURES as error:
                self._note(error)
                await self._clock.sleep(PAUSE_SECONDS)

    def _note(self, error: Exception) -> None:
        trouble = f"stream {self._stream}: {str(error) or repr(error)}"
        if trouble != self.trouble:
            logs.logger().warning("the stream can't be read", reason=trouble)
        self.trouble = trouble

    async def _have_consumer(self, client: Client) -> None:
        jetstream = jetstream_of(client)
        try:
            found = (await jetstream.consumer_info(self._stream, self._consumer)).config
        except NotFoundError:
            found = ConsumerConfig(
                durable_name=self._consumer,
                filter_subject=self._subject,
                ack_policy=AckPolicy.EXPLICIT,
                ack_wait=ACK_WAIT_SECONDS,
                deliver_policy=DeliverPolicy.NEW,
            )
            await jetstream.add_consumer(self._stream, found)  # pyright: ignore[reportUnknownMemberType]
        # Whoever made it otherwise meant to: two releases would change it to and fro.
        if found.filter_subject != self._subject:
            logs.logger().error(
                "the consumer of the stream brings other events",
                stream=self._stream,
                consumer=self._consumer,
                filter=found.filter_subject or found.filter_subjects,
            )

    async def _read(self, client: Client) -> None:
        """Ask for the next batch whenever half of the last one has come, until nothing comes."""
        self._owed, self._end, self._heard_at = 0, None, self._clock.monotonic()
        inbox = client.new_inbox()
        answers = await client.subscribe(inbox, cb=self._heed)  # pyright: ignore[reportUnknownMemberType]
        try:
            while self._end is None:
                if self._owed <= BATCH // 2:
                    request = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
                    await client.publish(request, _REQUEST, reply=inbox)
                    self._owed += BATCH
                self._wake.clear()
                await self._clock.wait(self._wake, SILENCE_SECONDS)
                silent_seconds = self._clock.monotonic() - self._heard_at
                if silent_seconds > SILENCE_SECONDS and not self._waits_for_room:
                    self._end = ConnectionError("the server is silent")
            self._note(self._end)
        finally:
            with suppress(NatsError):
                await answers.unsubscribe()

    async def _heed(self, message: Msg) -> None:
        status = message.headers.get(_STATUS) if message.headers and not message.data else None
        self._heard_at = self._clock.monotonic()
        if status is None:
            self._owed -= 1
            self._waits_for_room = True
            try:
                await self._take(message)
            finally:
                self._waits_for_room = False
            self._heard_at = self._clock.monotonic()
        elif status in _EXPIRED:
            self._owed -= int((message.headers or {}).get(_UNUSED, self._owed))
        elif status != _HEARTBEAT:
            self._end = ConnectionError((message.headers or {}).get(_DESCRIPTION, status))
        if self._end is None:
            self.trouble = None
        if self._owed <= BATCH // 2 or self._end:
            self._wake.set()
