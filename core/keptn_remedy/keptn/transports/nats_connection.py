"""A connection to NATS that is made again whenever it ends, and that sends nothing late.

A client of nats-py that reconnects keeps what was published meanwhile, and sends it afterwards,
even where the caller was told of a time-out: three failed tries are three messages. So each
connection has a client of its own, which never reconnects.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from nats.aio.client import Client
from nats.errors import Error as NatsError
from nats.errors import SlowConsumerError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type, wait_random_exponential

from keptn_remedy.keptn.transports.nats_client import OrderedClient
from keptn_remedy.support import logs
from keptn_remedy.support.clock import Clock

CONNECT_SECONDS = 5.0
# Two pings without an answer end a connection whose server is frozen.
PING_SECONDS, UNANSWERED_PINGS = 5, 2
CLOSE_SECONDS = 2.0
# For how long a report waits for room in what is pending.
WRITE_SECONDS = 10.0
# For how long the denial of a report counts, which is tried again meanwhile; and after which time a
# denied subscription is, with a new connection.
DENIED_SECONDS, RESUBSCRIBE_SECONDS = 60.0, 300.0
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 5.0
_PERMISSION = "permissions violation"
_UNIQUE = ("$js.ack.", "_inbox.")
_LOST = (NatsError, OSError)


class NatsConnection:
    """The connection to NATS, at most one at a time.

    `options` returns what nats-py's `connect` is given, and is called for each connection.
    """

    def __init__(self, options: Callable[[], Mapping[str, Any]], clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._client: OrderedClient | None = None
        self._is_up = asyncio.Event()
        self._ended = asyncio.Event()
        self._failure: str | None = "not connected yet"
        self._denied: dict[str, tuple[str, float]] = {}
        self._denials: Counter[str] = Counter()
        self._last_error: Exception | None = None

    @property
    def client(self) -> OrderedClient | None:
        """The client whose connection stands; None while there is none."""
        return self._client

    @property
    def trouble(self) -> str | None:
        """What is wrong with it: no connection, or a subject that the server denies us."""
        now = self._clock.monotonic()
        denied = (text for text, until in self._denied.values() if until > now)
        return self._failure or next(denied, None)

    def denials(self, subject: str) -> int:
        """How often the server denied us to publish there."""
        return self._denials[_publish_to(subject)]

    def denial(self, subject: str, since: int) -> str | None:
        """What the server said, if it has denied that more often than `since`."""
        what = _publish_to(subject)
        if self._denials[what] == since:
            return None
        return self._denied[what][0] if what in self._denied else f"denied: {what}"

    async def until_up(self, seconds: float) -> None:
        """Wait for the first connection, for so long at most."""
        await self._clock.wait(self._is_up, seconds)

    async def run(self, use: Callable[[Client], Awaitable[None]]) -> None:
        """Connect, and call `use` with each new client; again and again, until cancelled."""
        pauses = AsyncRetrying(
            sleep=self._clock.sleep,
            wait=wait_random_exponential(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
            retry=retry_if_exception_type(),  # whatever it is, events must come again
            before_sleep=self._note_failure,
        )
        while True:
            async for attempt in pauses:
                with attempt:
                    await self._serve_once(use)
            await self._clock.sleep(FIRST_PAUSE_SECONDS)

    def drop(self, client: OrderedClient) -> None:
        """End the connection of this client: its server doesn't answer."""
        if client is self._client:
            self._ended.set()
        client.break_off()

    async def _serve_once(self, use: Callable[[Client], Awaitable[None]]) -> None:
        task = asyncio.current_task()
        if task and task.cancelling():  # nats-py swallows cancellations
            raise asyncio.CancelledError
        options = self._options()
        client, ended = OrderedClient(), asyncio.Event()
        await self._connect(client, options, ended)
        try:
            self._denied.clear()
            self._ended = ended
            await use(client)
            self._client, self._failure = client, None
            self._is_up.set()
            logs.logger().info("connected to NATS", server=_server(client))
            await ended.wait()
            self._failure = f"the connection has ended: {client.last_error or 'closed'}"
            logs.logger().warning("NATS is away", reason=self._failure)
        finally:
            self._client = None
            self._is_up.clear()
            with suppress(*_LOST):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await client.close()

    async def _connect(
        self, client: OrderedClient, options: Mapping[str, Any], ended: asyncio.Event
    ) -> None:
        async def stopping() -> None:
            logs.logger().warning("the NATS server is about to stop", server=_server(client))
            if len(options["servers"]) > 1:
                ended.set()  # another one has the streams, which this one has closed already

        self._last_error = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await client.connect(
                    **options,
                    error_cb=self._heed,
                    lame_duck_mode_cb=stopping,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    ping_interval=PING_SECONDS,
                    max_outstanding_pings=UNANSWERED_PINGS,
                    flush_timeout=WRITE_SECONDS,
                )
            client.when_ended(ended.set)
        except BaseException as error:
            client.break_off()  # after a failed handshake nats-py would wait for ever
            if not isinstance(error, _LOST):
                raise
            # nats-py says "no servers available"; why is heard by the callback alone.
            raise ConnectionError(self._heard(error)) from None

    def _heard(self, error: BaseException) -> str:
        return str(self._last_error or error) or repr(error)

    async def _heed(self, error: Exception) -> None:
        text = str(error)
        if _PERMISSION in text.lower():
            self._note_denial(text)
        elif isinstance(error, SlowConsumerError):
            logs.logger().error("NATS dropped events: too many wait to be stored")
        self._last_error = error

    def _note_denial(self, text: str) -> None:
        what = text.lower().partition(_PERMISSION)[2].removeprefix(" for ")
        for each in _UNIQUE:  # one denial stands for all
            what = what.partition(each)[0] + each if each in what else what
        if what not in self._denied:
            logs.logger().error("NATS denies a subject", reason=text)
        is_subscription = what.startswith("subscription")
        seconds = RESUBSCRIBE_SECONDS if is_subscription else DENIED_SECONDS
        self._denied[what] = text, self._clock.monotonic() + seconds
        self._denials[what] += 1
        if is_subscription:
            asyncio.get_running_loop().call_later(seconds, self._ended.set)

    def _note_failure(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        failure = f"no connection: {error}"
        if failure != self._failure:
            logs.logger().warning("NATS can't be reached", reason=failure)
        self._failure = failure


def _publish_to(subject: str) -> str:
    """As nats-py words it, in lower case."""
    return f'publish to "{subject.lower()}"'


def _server(client: Client) -> str | None:
    """Where it is connected to, without user and password."""
    url = client.connected_url
    return f"{url.hostname}:{url.port}" if url else None
