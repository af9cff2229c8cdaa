"""What NATS does where one would guess otherwise: each case on a real server."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
import pytest_asyncio
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from nats.js.api import ConsumerConfig, DiscardPolicy, StreamConfig

from keptn_remedy.events import STARTED, TRIGGERED
from keptn_remedy.keptn.transports import Blocked, Rejected, Undelivered
from keptn_remedy.keptn.transports.direct_nats import DirectNats
from keptn_remedy.keptn.transports.nats_client import OrderedClient
from keptn_remedy.keptn.transports.nats_connection import NatsConnection
from keptn_remedy.keptn.transports.nats_intake import _size
from keptn_remedy.testing.nats_proxy import NatsProxy
from tests.clocks import StandingClock
from tests.core.keptn.transports.over_nats import QUEUE, Taken, event, report, transport
from tests.log_lines import captured_logs
from tests.nats_server import NatsServer
from tests.waiting import until

DIRECT = "keptn_remedy.keptn.transports.direct_nats"
CONNECTION = "keptn_remedy.keptn.transports.nats_connection"
INTAKE = "keptn_remedy.keptn.transports.nats_intake"
STREAM = "keptn_remedy.keptn.transports.nats_stream"


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    made = NatsServer(tmp_path / "nats")
    await made.start()
    yield made
    made.stop(signal.SIGKILL)


@pytest_asyncio.fixture
async def keptn(nats: NatsServer) -> AsyncIterator[Client]:
    """A client of Keptn's, with its stream, on the server of all tests."""
    async with nats.client() as client:
        await _make_stream(client)
        yield client
        await client.jetstream().delete_stream("keptn")


async def _make_stream(client: Client, **config: Any) -> None:
    made = StreamConfig(name="keptn", subjects=["sh.keptn.>"], **config)
    await client.jetstream().add_stream(made)


def _request(seconds: float, heartbeat: float) -> bytes:
    """A request to a consumer that ends after so many seconds."""
    limits = {"expires": int(seconds * 1e9), "idle_heartbeat": int(heartbeat * 1e9)}
    return orjson.dumps({"batch": 64, **limits})


async def _send(ours: DirectNats) -> None:
    """Send a report, again and again until it is taken."""

    async def is_taken() -> bool:
        try:
            await ours.send(report())
        except Undelivered:
            return False
        return True

    await until(is_taken)


async def _refused(ours: DirectNats, error: type[Undelivered]) -> Undelivered:
    """Send a report, again and again until it is refused with that error."""
    refusals: list[Undelivered] = []

    async def is_refused() -> bool:
        try:
            await ours.send(report())
        except Undelivered as refusal:
            refusals.append(refusal)
        return bool(refusals) and isinstance(refusals[-1], error)

    await until(is_refused)
    return refusals[-1]


async def _arrives(keptn: Client, taken: Taken, **attributes: Any) -> None:
    name, body = event(**attributes)
    await keptn.publish(TRIGGERED, body)
    await until(lambda: name in taken.ids)


# Connections


@pytest.mark.parametrize("stream", [None, "keptn"])
async def test_a_connection_that_is_cut_is_made_again(
    nats: NatsServer, keptn: Client, stream: str | None
) -> None:
    taken, proxy = Taken(), NatsProxy(nats.url)
    await proxy.listen()
    async with transport(proxy.url, taken, stream=stream) as ours:
        proxy.cut()
        await until(lambda: ours.trouble is not None)
        await until(lambda: ours.trouble is None)
        await _arrives(keptn, taken)
        await _send(ours)
    await proxy.stop_listening()


async def test_what_waits_to_be_stored_outlives_the_connection(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{INTAKE}.AT_ONCE", 1)
    taken, proxy = Taken(), NatsProxy(nats.url)
    await proxy.listen()
    sent = [event() for _ in range(100)]
    async with transport(proxy.url, taken) as ours, nats.client() as keptn:
        taken.shut()
        for _, body in sent:
            await keptn.publish(TRIGGERED, body)
        await keptn.flush()
        await _send(ours)  # what was sent to us before has come
        proxy.cut()
        await until(lambda: ours.trouble is not None)
        taken.open()
        await until(lambda: taken.ids == [each for each, _ in sent])
    await proxy.stop_listening()


async def test_a_lame_duck_still_delivers_but_has_no_stream(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{STREAM}._REQUEST", _request(5, 0.05))
    monkeypatch.setattr(f"{STREAM}.SILENCE_SECONDS", 0.5)
    # However slow the machine is: the grace, after which it closes connections, outlasts the test.
    server.configure(lame_duck_duration="20m", lame_duck_grace_period="10m")
    server.stop()
    await server.start()
    async with server.client() as keptn:
        await _make_stream(keptn)
        plain, streamed = Taken(), Taken()
        async with (
            transport(server.url, plain, nats_queue="plain") as ours,
            transport(server.url, streamed, stream="keptn") as ours_on_stream,
        ):
            await ours_on_stream.send(report())
            server.send(signal.SIGUSR2)
            await until(lambda: "lame duck" in server.log.lower())
            await until(lambda: ours_on_stream.trouble is not None)
            # What is sent while the stream closes may be in doubt; what comes after it is not.
            await until(lambda: _is_surely_refused(ours_on_stream))
            await ours.send(report())
            await _arrives(keptn, plain)


async def _is_surely_refused(ours: DirectNats) -> bool:
    return not (await _refused(ours, Undelivered)).doubtful


async def test_a_frozen_server_is_told_and_read_from_again(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{STREAM}._REQUEST", _request(5, 0.05))
    monkeypatch.setattr(f"{STREAM}.SILENCE_SECONDS", 1.0)
    monkeypatch.setattr(f"{STREAM}.ACK_WAIT_SECONDS", 1.0)  # for what a slow machine lets go
    async with server.client() as keptn:
        await _make_stream(keptn)
        taken = Taken()
        async with transport(server.url, taken, stream="keptn") as ours:
            await _arrives(keptn, taken)
            server.freeze()
            await until(lambda: "silent" in str(ours.trouble))
            server.send(signal.SIGCONT)
            await _arrives(keptn, taken)


async def test_what_was_given_up_does_not_arrive_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{DIRECT}.CONFIRM_SECONDS", 0.05)
    end: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer until a report comes, and then no more."""
        writer.write(b'INFO {"server_id": "X", "version": "2.10.0", "max_payload": 1048576}\r\n')
        is_asleep = False
        try:
            while line := await reader.readline():
                is_asleep = is_asleep or line.startswith(b"PUB")
                if line.startswith(b"PING") and not is_asleep:
                    writer.write(b"PONG\r\n")
            ended = "all was delivered"
        except ConnectionResetError:
            ended = "reset"
        writer.close()
        if not end.done():
            end.set_result(ended)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as peer:
        port = peer.sockets[0].getsockname()[1]
        async with transport(f"nats://127.0.0.1:{port}", Taken()) as ours:
            with pytest.raises(Undelivered) as caught:
                await ours.send(report())
            assert caught.value.doubtful
            assert await end == "reset"


# Reports


@pytest.mark.parametrize("stream", [None, "keptn"])
async def test_a_report_over_the_servers_limit_is_rejected_and_the_connection_lives(
    server: NatsServer, stream: str | None
) -> None:
    long = report()
    # With its headers it is over the limit, without them it isn't.
    server.configure(max_payload=len(long.body) + (20 if stream else -20))
    server.stop()
    await server.start()
    async with server.client() as keptn:
        await _make_stream(keptn)
        async with transport(server.url, Taken(), stream=stream) as ours:
            with pytest.raises(Rejected):
                await ours.send(long)
            assert ours.trouble is None
            assert "maximum payload" not in server.log.lower()


@pytest.mark.parametrize("stream", [None, "keptn"])
async def test_a_denial_ends_when_the_server_allows_the_subject(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch, stream: str | None
) -> None:
    monkeypatch.setattr(f"{DIRECT}.CONFIRM_SECONDS", 0.3)
    monkeypatch.setattr(f"{CONNECTION}.DENIED_SECONDS", 0.3)
    remedy: dict[str, Any] = {"user": "remedy", "password": "secret"}
    keptn_user = {"user": "keptn", "password": "secret"}
    denied = remedy | {"permissions": {"publish": {"deny": STARTED}}}
    server.configure(authorization={"users": [denied, keptn_user]})
    server.stop()
    await server.start()
    given: dict[str, Any] = {"nats_user": "remedy", "nats_password": "secret"}
    async with server.client(user="keptn", password="secret") as keptn:
        await _make_stream(keptn)
        async with transport(server.url, Taken(), stream=stream, **given) as ours:
            for _ in range(2):
                denial = await _refused(ours, Blocked)
                assert "permissions violation" in denial.reason
            server.configure(authorization={"users": [remedy, keptn_user]})
            server.send(signal.SIGHUP)
            await _send(ours)
            await until(lambda: ours.trouble is None)


async def test_a_denied_subscription_is_told_and_tried_again(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{CONNECTION}.RESUBSCRIBE_SECONDS", 0.2)
    remedy: dict[str, Any] = {"user": "remedy", "password": "secret"}
    denied = remedy | {"permissions": {"subscribe": {"deny": TRIGGERED}}}
    server.configure(authorization={"users": [denied]})
    server.stop()
    await server.start()
    taken = Taken()
    given: dict[str, Any] = {"nats_user": "remedy", "nats_password": "secret"}
    async with transport(server.url, taken, **given) as ours:
        await until(lambda: f'subscription to "{TRIGGERED}"' in str(ours.trouble))
        server.configure(authorization={"users": [remedy]})
        server.send(signal.SIGHUP)
        async with server.client(user="remedy", password="secret") as keptn:

            async def has_come() -> bool:
                await keptn.publish(TRIGGERED, event()[1])
                return bool(taken.ids)

            await until(has_come)


async def test_a_stream_that_ceases_to_hold_the_subject_is_asked_again(
    nats: NatsServer, keptn: Client
) -> None:
    jetstream = keptn.jetstream()
    async with transport(nats.url, Taken(), stream="keptn") as ours:
        await ours.send(report())
        await jetstream.update_stream(StreamConfig(name="keptn", subjects=[TRIGGERED]))
        with pytest.raises(Undelivered) as caught:
            await ours.send(report())
        assert not caught.value.doubtful  # nothing listens there
        await ours.send(report())
        stored = (await jetstream.stream_info("keptn", subjects_filter=">")).state.subjects
        assert stored == {STARTED: 1}


async def test_what_a_full_stream_refuses_may_have_reached_others(
    nats: NatsServer, keptn: Client
) -> None:
    full = StreamConfig(
        name="keptn", subjects=["sh.keptn.>"], max_msgs=1, discard=DiscardPolicy.NEW
    )
    await keptn.jetstream().update_stream(full)
    async with transport(nats.url, Taken(), stream="keptn") as ours:
        heard = await keptn.subscribe(STARTED)
        await keptn.flush()
        await ours.send(report())
        with pytest.raises(Undelivered, match="maximum messages exceeded") as caught:
            await ours.send(report())
        assert caught.value.doubtful
        await until(lambda: heard.pending_msgs == 2)


@pytest.mark.parametrize(
    "what", ['Publish to "$JS.ACK.keptn.remedy.1.{}"', 'Subscription to "_INBOX.{}"']
)
async def test_what_is_denied_under_a_new_name_each_time_is_told_once(what: str) -> None:
    clock = StandingClock()
    connection = NatsConnection(dict, clock)
    with captured_logs() as lines:
        for number in range(3):
            denial = f"nats: 'Permissions Violation for {what.format(number)}'".lower()
            await connection._heed(NatsError(denial))
            clock.forward(1)
    assert len(lines.saying("NATS denies a subject")) == 1
    assert len(connection._denied) == 1


# Events


@pytest.mark.parametrize("stream", [None, "keptn"])
async def test_an_event_of_1_mb_is_taken(
    nats: NatsServer, keptn: Client, stream: str | None
) -> None:
    taken = Taken()
    async with transport(nats.url, taken, stream=stream):
        name, body = event()
        await keptn.publish(TRIGGERED, body + b" " * (1024**2 - len(body)))
        await until(lambda: taken.ids == [name])


async def test_a_reader_that_waits_for_room_does_not_call_the_server_silent(
    nats: NatsServer, keptn: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{STREAM}._REQUEST", _request(5, 0.02))
    monkeypatch.setattr(f"{STREAM}.SILENCE_SECONDS", 0.1)
    monkeypatch.setattr(f"{INTAKE}.MOST_WAITING_BYTES", 0)
    taken = Taken()
    with captured_logs() as lines:
        async with transport(nats.url, taken, stream="keptn") as ours:
            taken.shut()
            sent = [event() for _ in range(10)]
            for _, body in sent:
                await keptn.publish(TRIGGERED, body)
            await until(lambda: ours._intake._waiting_bytes > 0)
            await asyncio.sleep(0.3)  # the server is heard, and what it says waits
            assert ours.trouble is None
            taken.open()
            await until(lambda: taken.ids == [each for each, _ in sent])
        assert not lines.saying("the stream can't be read")
    info = await keptn.jetstream().consumer_info("keptn", QUEUE)
    assert info.num_redelivered == 0


def test_headers_take_room_as_the_payload_does() -> None:
    headers = {"ce-id": "x" * 95, "ce-data": "y" * 893}
    plain, with_headers = (
        Msg(OrderedClient(), data=b"12", headers=given) for given in (None, headers)
    )
    assert _size(with_headers) - _size(plain) == 1000


async def test_a_slow_consumer_is_logged(
    nats: NatsServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for limit in ("MOST_WAITING_BYTES", "MOST_PENDING_BYTES"):
        monkeypatch.setattr(f"{INTAKE}.{limit}", 10_000)
    monkeypatch.setattr(f"{INTAKE}.AT_ONCE", 1)
    taken = Taken()
    async with transport(nats.url, taken), nats.client() as keptn:
        taken.shut()
        sent = [event() for _ in range(100)]
        for _, body in sent:
            await keptn.publish(TRIGGERED, body)
        said = ""

        def is_said() -> bool:
            nonlocal said
            said += capsys.readouterr().out
            return "NATS dropped events" in said

        await until(is_said)
        taken.open()
        later: set[str] = set()

        async def has_come() -> bool:
            name, body = event()
            later.add(name)
            await keptn.publish(TRIGGERED, body)
            await keptn.flush()
            await asyncio.sleep(0.05)  # one after the other: many would fill the room again
            return not later.isdisjoint(taken.ids)

        await until(has_come)
        assert len({*taken.ids} - later) < len(sent)


async def test_a_request_that_waits_takes_no_event_from_the_next_process(
    nats: NatsServer, keptn: Client
) -> None:
    first, second = Taken(), Taken()
    async with transport(nats.url, first, stream="keptn"):
        await _arrives(keptn, first)
    async with transport(nats.url, second, stream="keptn"):
        await _arrives(keptn, second)
    info = await keptn.jetstream().consumer_info("keptn", QUEUE)
    assert (info.num_redelivered, info.num_pending) == (0, 0)


async def test_more_than_a_batch_is_read_from_a_stream(nats: NatsServer, keptn: Client) -> None:
    taken = Taken()
    async with transport(nats.url, taken, stream="keptn"):
        sent = [event() for _ in range(500)]
        for _, body in sent:
            await keptn.publish(TRIGGERED, body)
        await until(lambda: len(taken.ids) == len(sent))
        assert {*taken.ids} == {each for each, _ in sent}


async def test_a_request_that_expires_is_made_again(
    nats: NatsServer, keptn: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{STREAM}._REQUEST", _request(0.02, 0.009))
    taken = Taken()
    async with transport(nats.url, taken, stream="keptn") as ours:
        for _ in range(3):
            await asyncio.sleep(0.03)  # that long nothing comes
            await _arrives(keptn, taken)
        assert ours.trouble is None


async def test_a_deleted_stream_is_told_and_read_again_when_it_is_back(
    nats: NatsServer, keptn: Client
) -> None:
    taken = Taken()
    async with transport(nats.url, taken, stream="keptn") as ours:
        await _arrives(keptn, taken)
        await keptn.jetstream().delete_stream("keptn")
        await until(lambda: "stream keptn" in str(ours.trouble))
        await _make_stream(keptn)

        async def has_come() -> bool:
            await keptn.publish(TRIGGERED, event()[1])
            return len(taken.ids) > 1

        await until(has_come)
        await until(lambda: ours.trouble is None)


async def test_a_consumer_that_was_made_otherwise_is_told_and_left(
    nats: NatsServer, keptn: Client, capsys: pytest.CaptureFixture[str]
) -> None:
    other = ConsumerConfig(durable_name=QUEUE, filter_subject=STARTED, ack_wait=30)
    await keptn.jetstream().add_consumer("keptn", other)
    async with transport(nats.url, Taken(), stream="keptn"):
        await until(lambda: "brings other events" in capsys.readouterr().out)
    info = await keptn.jetstream().consumer_info("keptn", QUEUE)
    assert info.config.filter_subject == STARTED


async def test_an_event_that_the_stream_sends_again_is_accepted_again(
    nats: NatsServer, keptn: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{STREAM}.ACK_WAIT_SECONDS", 0.1)
    taken = Taken()
    taken.unavailable = 1
    async with transport(nats.url, taken, stream="keptn"):
        await _arrives(keptn, taken)
        assert not taken.unavailable


async def test_waiting_for_an_answer_ends_with_the_connection(nats: NatsServer) -> None:
    proxy = NatsProxy(nats.url)
    await proxy.listen()
    client = OrderedClient()
    await client.connect(proxy.url, allow_reconnect=False)
    proxy.hold(passed_on=True)
    waiting = [
        asyncio.create_task(client.flush()),
        asyncio.create_task(client.request("nobody", timeout=30)),
    ]
    await asyncio.sleep(0)
    await client.close()
    async with asyncio.timeout(5):
        ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(each).__name__ for each in ended] == ["ConnectionClosedError"] * 2
    await proxy.stop_listening()
