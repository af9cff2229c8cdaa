"""Straight to Keptn's NATS: events are subscribed to, reports are published and confirmed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from uuid import uuid4

from nats.aio.client import Client
from nats.errors import ConnectionClosedError, MaxPayloadError
from nats.errors import Error as NatsError
from nats.js.errors import APIError, NoStreamResponseError, NotFoundError

from keptn_remedy.events import LOG_ERROR, Report, report_id
from keptn_remedy.keptn.control_plane.error_log import ErrorLog
from keptn_remedy.keptn.transports import Accept, Blocked, Rejected, Undelivered
from keptn_remedy.keptn.transports.nats_client import end, jetstream_of
from keptn_remedy.keptn.transports.nats_connection import NatsConnection
from keptn_remedy.keptn.transports.nats_intake import NatsIntake

FIRST_CONNECT_SECONDS = 2.0
# What is published within this time is confirmed by one answer of the server.
GATHER_SECONDS = 0.002
CONFIRM_SECONDS = 10.0
# The server counts the headers of a message as well.
HEADER_BYTES = 128
_LOOK_UP = "$JS.API.STREAM.NAMES"


class DirectNats:
    """The transport of a provider that needs no distributor (docs/keptn.md#k49).

    Reports go to the subject of their type. A flush confirms them; where `stream` holds their
    subject, its acknowledgement does. Nobody stores log entries that are published, so these go to
    Keptn's API.
    """

    def __init__(
        self,
        connection: NatsConnection,
        intake: NatsIntake,
        error_log: ErrorLog,
        stream: str | None,
    ) -> None:
        self._connection = connection
        self._intake = intake
        self._error_log = error_log
        self._stream = stream
        self._stored: dict[str, bool] = {}
        self._unconfirmed: list[asyncio.Future[None]] = []
        self._flushes: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> None:
        return None

    @property
    def trouble(self) -> str | None:
        return self._connection.trouble or self._intake.trouble

    @asynccontextmanager
    async def receive(self, accept: Accept) -> AsyncGenerator[None]:
        running = asyncio.create_task(self._connection.run(partial(self._use, accept)))
        try:
            await self._connection.until_up(FIRST_CONNECT_SECONDS)
            yield
            await self._intake.drain()
        finally:
            await self._intake.close()
            await end(running)

    async def send(self, report: Report) -> None:
        subject = report.type
        if subject == LOG_ERROR:
            await self._error_log.add(report)
            return
        client = self._connection.client
        if client is None:
            raise Undelivered(f"NATS: {self._connection.trouble}", doubtful=False)
        denials = self._connection.denials(subject)
        try:
            if report.execution and await self._is_stored(client, subject):
                await _store(client, subject, report, report.execution)
            else:
                await client.publish(subject, report.body)
                await self._confirmed(client)
        except MaxPayloadError as error:
            raise Rejected(str(error)) from None
        except (NoStreamResponseError, APIError) as error:
            self._stored.clear()  # it may have been made otherwise
            # Beside a stream that refuses it, plain subscribers may have it.
            doubtful = not isinstance(error, NoStreamResponseError)
            raise Undelivered(f"the stream: {error}", doubtful=doubtful) from None
        except (NatsError, TimeoutError, OSError) as error:
            self._raise_if_denied(subject, denials)
            if isinstance(error, TimeoutError):
                # It must not arrive when the server continues, after Keptn was asked for it.
                self._connection.drop(client)
            raise Undelivered(f"not confirmed: {error!r}", doubtful=True) from None
        self._raise_if_denied(subject, denials)

    def leave(self) -> None:
        """Nothing to do: what arrives until the end is stored."""

    async def close(self) -> None:
        await self._error_log.close()

    async def _use(self, accept: Accept, client: Client) -> None:
        self._stored.clear()
        await self._intake.subscribe(client, accept)

    def _raise_if_denied(self, subject: str, denials: int) -> None:
        """The server told so before it confirmed what was published then."""
        if denial := self._connection.denial(subject, denials):
            raise Blocked(denial)

    async def _is_stored(self, client: Client, subject: str) -> bool:
        """Whether the stream stores what is published there."""
        if self._stream is None:
            return False
        if subject not in self._stored:
            denials = self._connection.denials(_LOOK_UP)
            found = None
            try:
                with suppress(NotFoundError):
                    found = await jetstream_of(client).find_stream_name_by_subject(subject)
            except (NatsError, TimeoutError, OSError) as error:
                if denial := self._connection.denial(_LOOK_UP, denials):
                    raise Blocked(denial) from None
                why = f"the stream can't be looked up: {error!r}"
                raise Undelivered(why, doubtful=False) from None
            self._stored[subject] = found == self._stream
        return self._stored[subject]

    async def _confirmed(self, client: Client) -> None:
        """Wait until the server has taken all that was published so far."""
        # A future for each: who is cancelled must not take the others along.
        confirmed = asyncio.get_running_loop().create_future()
        self._unconfirmed.append(confirmed)
        if len(self._unconfirmed) == 1:
            flush = asyncio.create_task(self._flush_soon(client))
            self._flushes.add(flush)
            flush.add_done_callback(self._flushes.discard)
        await confirmed

    async def _flush_soon(self, client: Client) -> None:
        waiting = self._unconfirmed
        failure: Exception | None = ConnectionClosedError()  # if this is cut off
        try:
            await asyncio.sleep(GATHER_SECONDS)
            self._unconfirmed = []  # what is published from here on needs the next one
            await client.flush(CONFIRM_SECONDS)  # type: ignore[arg-type]
            failure = None
        except Exception as error:  # noqa: BLE001  whoever waits for it explains it
            failure = error
        finally:
            if self._unconfirmed is waiting:
                self._unconfirmed = []
            _settle(waiting, failure)


def _settle(waiting: Iterable[asyncio.Future[None]], failure: Exception | None) -> None:
    for confirmed in waiting:
        if confirmed.done():  # whoever waited was cancelled
            continue
        if failure is None:
            confirmed.set_result(None)
        else:
            confirmed.set_exception(failure)


async def _store(client: Client, subject: str, report: Report, execution: str) -> None:
    if len(report.body) + HEADER_BYTES > client.max_payload:
        raise MaxPayloadError
    # A fresh dict each time: nats-py writes into it.
    headers = {"Nats-Msg-Id": report_id(execution, report.kind)}
    if report.kind == "status.changed":  # each of them is a sign of life
        headers["Nats-Msg-Id"] += f" {uuid4()}"
    await jetstream_of(client).publish(
        subject, report.body, timeout=CONFIRM_SECONDS, headers=headers
    )
