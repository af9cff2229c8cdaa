"""The transport over a real NATS server: what is lost, denied, frozen or restarted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
import pytest_asyncio
from nats.js.api import StreamConfig

from keptn_remedy.events import (
    STARTED,
    TRIGGERED,
)
from keptn_remedy.keptn.api import ApiClient
from keptn_remedy.keptn.api.credentials import Credentials, Secret
from keptn_remedy.keptn.control_plane.error_log import ErrorLog
from keptn_remedy.keptn.transports import Blocked, Undelivered
from keptn_remedy.keptn.transports.nats_client import OrderedClient
from keptn_remedy.testing import http_peer
from tests.core.keptn.transports.over_nats import QUEUE, Taken, event, report, transport
from tests.nats_server import NatsServer
from tests.waiting import until


@pytest_asyncio.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    made = NatsServer(tmp_path / "nats")
    await made.start()
    yield made
    made.stop()


async def test_events_come_in_both_modes_and_what_is_none_is_left(server: NatsServer) -> None:
    taken = Taken()
    async with transport(server.url, taken), server.client() as keptn:
        structured, body = event()
        await keptn.publish(TRIGGERED, b"no event")
        await keptn.publish(TRIGGERED, body)
        binary = str(uuid4())
        headers = {"ce-id": binary, "ce-source": "x", "ce-type": TRIGGERED, "ce-specversion": "1.0"}
        await keptn.publish(TRIGGERED, b"{}", headers=headers)
        await until(lambda: len(taken.ids) == 2)
        assert taken.ids == [structured, binary]


@pytest.mark.parametrize("stream", [None, "keptn"])
async def test_triggers_of_other_tasks_come_where_they_are_asked_for(
    server: NatsServer, stream: str | None
) -> None:
    get_sli = "sh.keptn.event.get-sli.triggered"
    taken = Taken()
    async with server.client() as keptn:
        jetstream = keptn.jetstream()
        await jetstream.add_stream(StreamConfig(name="keptn", subjects=["sh.keptn.>"]))
        async with transport(server.url, taken, stream=stream, types=(TRIGGERED, get_sli)):
            sent = dict([event(), event(type=get_sli)])
            for body in sent.values():
                await keptn.publish(orjson.loads(body)["type"], body)
            await keptn.publish("sh.keptn.event.test.triggered", event()[1])
            await until(lambda: len(taken.ids) == 2)
            assert {*taken.ids} == {*sent}


async def test_members_of_a_queue_share_the_events(server: NatsServer) -> None:
    one, other = Taken(), Taken()
    async with transport(server.url, one), transport(server.url, other), server.client() as keptn:
        sent = [event() for _ in range(50)]
        for _, body in sent:
            await keptn.publish(TRIGGERED, body)
        await until(lambda: len(one.ids) + len(other.ids) == 50)
        assert {*one.ids, *other.ids} == {each for each, _ in sent}
        assert one.ids
        assert other.ids


async def test_an_event_is_kept_while_the_journal_fails(server: NatsServer) -> None:
    taken = Taken()
    taken.unavailable = 3
    async with transport(server.url, taken), server.client() as keptn:
        name, body = event()
        await keptn.publish(TRIGGERED, body)
        await until(lambda: taken.ids == [name])


async def test_what_has_arrived_is_stored_before_the_end(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keptn_remedy.keptn.transports.nats_intake.DRAIN_SECONDS", 20.0)
    taken = Taken()
    sent = [event() for _ in range(500)]
    async with server.client() as keptn:
        async with transport(server.url, taken):
            for _, body in sent:
                await keptn.publish(TRIGGERED, body)
            await keptn.flush()
        assert taken.ids == [each for each, _ in sent]


async def test_a_ping_follows_what_it_confirms() -> None:
    verbs: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id": "X", "version": "2.10.0", "max_payload": 1048576}\r\n')
        while line := await reader.readline():
            verbs.append(line.split()[0])
            if verbs[-1] == b"PUB":
                await reader.readexactly(int(line.split()[-1]) + 2)
            elif verbs[-1] == b"PING":
                writer.write(b"PONG\r\n")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as peer:
        client = OrderedClient()
        await client.connect(f"nats://127.0.0.1:{peer.sockets[0].getsockname()[1]}")
        verbs.clear()
        await client.publish("reports", b"finished")
        await client.flush()
        await client.close()
    assert verbs == [b"PUB", b"PING"]


async def test_a_report_is_published_on_the_subject_of_its_type(server: NatsServer) -> None:
    async with transport(server.url, Taken()) as ours, server.client() as keptn:
        heard = await keptn.subscribe("sh.keptn.>")
        await keptn.flush()
        sent = report()
        await ours.send(sent)
        message = await heard.next_msg(timeout=5)
        assert (message.subject, message.data) == (STARTED, sent.body)
        assert message.headers is None


async def test_reports_sent_together_share_a_confirmation(server: NatsServer) -> None:
    async with transport(server.url, Taken()) as ours, server.client() as keptn:
        heard = await keptn.subscribe(STARTED)
        await keptn.flush()
        await asyncio.gather(*(ours.send(report()) for _ in range(200)))
        await until(lambda: heard.pending_msgs == 200)


async def test_without_a_server_a_report_is_not_sent_later(server: NatsServer) -> None:
    async with transport(server.url, Taken()) as ours:
        server.stop()
        await until(lambda: ours.trouble is not None)
        for _ in range(3):
            with pytest.raises(Undelivered) as caught:
                await ours.send(report())
            assert not caught.value.doubtful
        await server.start()
        async with server.client() as keptn:
            heard = await keptn.subscribe("sh.keptn.>")
            await keptn.flush()
            await until(lambda: ours.trouble is None)
            await ours.send(report())
            await until(lambda: heard.pending_msgs == 1)
            await keptn.flush()
            assert heard.pending_msgs == 1


async def test_events_come_again_after_a_restart_of_the_server(server: NatsServer) -> None:
    taken = Taken()
    async with transport(server.url, taken) as ours:
        server.stop()
        await until(lambda: ours.trouble is not None)
        await server.start()
        await until(lambda: ours.trouble is None)
        async with server.client() as keptn:
            name, body = event()
            await keptn.publish(TRIGGERED, body)
            await until(lambda: taken.ids == [name])


async def test_a_provider_that_starts_before_the_server_connects_when_it_comes(
    server: NatsServer,
) -> None:
    server.stop()
    async with transport(server.url, Taken(), first_connect_seconds=0.1) as ours:
        assert "no connection" in str(ours.trouble)
        await server.start()
        await until(lambda: ours.trouble is None)


async def test_a_frozen_server_leaves_the_delivery_in_doubt(
    server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keptn_remedy.keptn.transports.direct_nats.CONFIRM_SECONDS", 0.2)
    async with transport(server.url, Taken()) as ours:
        server.freeze()
        with pytest.raises(Undelivered) as caught:
            await ours.send(report())
        assert caught.value.doubtful
        await until(lambda: ours.trouble is not None)  # the connection was dropped
        server.stop()


async def test_a_denied_subject_is_told_and_holds_reports_up(tmp_path: Path) -> None:
    denied = {"publish": {"deny": STARTED}}
    users = [{"user": "remedy", "password": "secret", "permissions": denied}]
    server = NatsServer(tmp_path / "nats", authorization={"users": users})
    await server.start()
    try:
        given: dict[str, Any] = {"nats_user": "remedy", "nats_password": "secret"}
        async with transport(server.url, Taken(), **given) as ours:
            with pytest.raises(Blocked, match="permissions violation"):
                await ours.send(report())
            assert STARTED in str(ours.trouble)
    finally:
        server.stop()


async def test_a_stream_that_may_not_be_looked_up_is_told(tmp_path: Path) -> None:
    denied = {"publish": {"deny": "$JS.API.STREAM.NAMES"}}
    users = [{"user": "remedy", "password": "secret", "permissions": denied}]
    server = NatsServer(tmp_path / "nats", authorization={"users": users})
    await server.start()
    try:
        given: dict[str, Any] = {"nats_user": "remedy", "nats_password": "secret"}
        async with transport(server.url, Taken(), stream="keptn", **given) as ours:
            with pytest.raises(Blocked, match=r"stream\.names"):
                await ours.send(report())
    finally:
        server.stop()


async def test_a_stream_keeps_what_comes_while_nobody_listens(server: NatsServer) -> None:
    async with server.client() as keptn:
        jetstream = keptn.jetstream()
        await jetstream.add_stream(StreamConfig(name="keptn", subjects=["sh.keptn.>"]))
        first, second = Taken(), Taken()
        async with transport(server.url, first, stream="keptn"):
            name, body = event()
            await jetstream.publish(TRIGGERED, body)
            await until(lambda: first.ids == [name])
        missed, body = event()
        await jetstream.publish(TRIGGERED, body)
        async with transport(server.url, second, stream="keptn"):
            await until(lambda: second.ids == [missed])
            info = await jetstream.consumer_info("keptn", QUEUE)
            await until(lambda: _acknowledged(jetstream))
            assert info.config.filter_subject == TRIGGERED


async def _acknowledged(jetstream: Any) -> bool:
    return bool((await jetstream.consumer_info("keptn", QUEUE)).num_ack_pending == 0)


async def test_what_the_journal_can_not_take_stays_in_the_stream(server: NatsServer) -> None:
    async with server.client() as keptn:
        jetstream = keptn.jetstream()
        await jetstream.add_stream(StreamConfig(name="keptn", subjects=["sh.keptn.>"]))
        taken = Taken()
        taken.unavailable = 1
        async with transport(server.url, taken, stream="keptn"):
            _, body = event()
            await jetstream.publish(TRIGGERED, body)
            await until(lambda: taken.unavailable == 0)
            assert not await _acknowledged(jetstream)
            assert not taken.ids


async def test_a_stream_confirms_the_reports_that_it_stores(server: NatsServer) -> None:
    async with server.client() as keptn:
        jetstream = keptn.jetstream()
        await jetstream.add_stream(StreamConfig(name="keptn", subjects=["sh.keptn.event.>"]))
        async with transport(server.url, Taken(), stream="keptn") as ours:
            sent = report()
            await ours.send(sent)
            await ours.send(sent)  # the same one again is the same message
            stored = await jetstream.stream_info("keptn", subjects_filter=">")
            assert stored.state.subjects == {STARTED: 1}


async def test_a_stream_keeps_each_sign_of_life(server: NatsServer) -> None:
    async with server.client() as keptn:
        jetstream = keptn.jetstream()
        await jetstream.add_stream(StreamConfig(name="keptn", subjects=["sh.keptn.event.>"]))
        async with transport(server.url, Taken(), stream="keptn") as ours:
            sent = report("status.changed")
            await ours.send(sent)
            await ours.send(sent)
            assert (await jetstream.stream_info("keptn")).state.messages == 2


async def test_a_deleted_consumer_is_made_again(server: NatsServer) -> None:
    async with server.client() as keptn:
        jetstream = keptn.jetstream()
        await jetstream.add_stream(StreamConfig(name="keptn", subjects=["sh.keptn.>"]))
        taken = Taken()
        async with transport(server.url, taken, stream="keptn"):
            await jetstream.delete_consumer("keptn", QUEUE)
            await until(lambda: _exists(jetstream))
            name, body = event()
            await jetstream.publish(TRIGGERED, body)
            await until(lambda: taken.ids == [name])


async def _exists(jetstream: Any) -> bool:
    return QUEUE in [each.name for each in await jetstream.consumers_info("keptn")]


async def test_a_missing_stream_is_told(server: NatsServer) -> None:
    async with transport(server.url, Taken(), stream="keptn") as ours:
        await until(lambda: "stream not found" in str(ours.trouble))


async def test_an_error_is_logged_by_the_api(server: NatsServer) -> None:
    async with http_peer() as api:
        log = ErrorLog(ApiClient(api.url, Credentials(Secret("a-token"))))
        await log.add(report("log.error"))
        await log.close()
        (request,) = api.requests
        assert request.path == "/controlPlane/v1/log"
        assert request.headers["x-token"] == "a-token"
        (entry,) = orjson.loads(request.body)["logs"]
        assert (entry["message"], entry["task"]) == ("it failed", "action")
        assert entry["triggeredid"]
