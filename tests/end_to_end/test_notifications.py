"""What people have to be told survives `kill -9`, and reaches a real Alertmanager."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from keptn_remedy.testing import FakeKeptn, HttpPeer, http_peer, triggered
from tests.end_to_end.provider_process import ProviderProcess
from tests.monitoring import Alertmanager, AlertmanagerProgram, webhook_config
from tests.providing import Dial, provider
from tests.waiting import until

FAILURES, KILLS = 6, 1


def channels(folder: Path, **entry: Any) -> Path:
    path = folder / "channels.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "channels": {"it": entry}}))
    return path


def told(peer: HttpPeer) -> list[tuple[str, str]]:
    """The id of each event that the channel got, and the execution it is about."""
    return [(each.json["id"], each.json["data"]["execution"]) for each in peer.requests]


async def test_each_failure_is_told_however_often_the_process_is_killed(tmp_path: Path) -> None:
    async with http_peer() as peer, FakeKeptn() as keptn:
        path = channels(tmp_path, type="webhook", url=peer.url, at_most=1000)
        async with ProviderProcess(tmp_path, keptn, channels=path) as process:
            await process.start()
            events = [triggered("run-often", "no map") for _ in range(FAILURES)]
            with peer.hold():  # the first one is under way when the process dies
                await keptn.deliver(events[0], to=process.url)
                await peer.requested()
                process.kill()
            for kill in range(KILLS):
                await process.start()
                for event in events[1 + kill :: KILLS]:
                    await keptn.deliver(event, to=process.url)
                await asyncio.sleep(random.uniform(0, 0.4))  # noqa: S311  any moment will do
                process.kill()
            await process.start()
            ids = {event["id"] for event in events}
            await until(lambda: {execution for _, execution in told(peer)} == ids)
            for event in events:
                await keptn.task_finished(event["id"])
            assert (await process.stop()).code == 0
    # One that was under way at a kill came again, under the same id.
    assert len(set(told(peer))) == FAILURES
    assert len(told(peer)) <= FAILURES + KILLS * 3


async def test_an_approval_is_an_alert_of_a_real_alertmanager_until_it_is_given(
    tmp_path: Path, alertmanager_program: AlertmanagerProgram
) -> None:
    server = Alertmanager(
        tmp_path / "am", alertmanager_program, webhook_config("http://127.0.0.1:1")
    )
    policy = tmp_path / "policy.yaml"
    policy.write_text("version: 1\nrules: [{name: ask, mode: approve, approve_within: 1h}]")
    peers = ["http://127.0.0.1:1", server.url]  # of the pair, one is away
    path = channels(tmp_path, type="alertmanager", urls=peers)
    try:
        await server.start()
        settings: Any = {"channels": path, "policy": policy, "page_url": "https://remedy.example"}
        async with provider(tmp_path / "j.db", None, Dial, **settings) as service:
            event = triggered("dial", 5)
            async with aiohttp.ClientSession() as session:
                url = f"http://127.0.0.1:{service.event_port}/"
                async with session.post(url, json=event) as answer:
                    assert answer.status == 202
            await until(lambda: _alerts(server, 1))
            (alert,) = await _listed(server)
            await service.journal.answer(event["id"], "approved", "ann", None)
            await until(lambda: _alerts(server, 0))
    finally:
        server.kill()
    assert alert["labels"]["alertname"] == "RemedyApprovalNeeded"
    assert alert["labels"]["execution"] == event["id"]
    assert alert["status"]["state"] == "active"
    assert alert["generatorURL"] == f"https://remedy.example/executions/{event['id']}"
    assert f"remedy approve {event['id']}" in alert["annotations"]["description"]


async def _alerts(server: Alertmanager, number: int) -> bool:
    return len(await _listed(server)) == number


async def _listed(server: Alertmanager) -> list[Any]:
    url = f"{server.url}/api/v2/alerts"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        found: list[Any] = await answer.json()
    return found
