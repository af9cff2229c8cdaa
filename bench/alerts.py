"""What alerts cost in standalone mode: taken in, in one large message, and as open episodes."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientSession, web

from bench.servers import Server, standalone

SECRET = "a secret of the bench"  # noqa: S105  opens nothing
MESSAGES, ALERTS, PER_SECOND = 2_000, 5, 200
LARGE, OPEN = 5_000, 10_000
IDLE_SECONDS = 70.0
SOURCES = """
version: 1
sources:
  shop:
    kind: alertmanager
    secret_file: {folder}/secret
    project: {{default: shop}}
    stage: {{label: stage}}
    service: {{label: service}}
    allow: {{projects: shop}}
    alertmanagers: [{url}]
ladder: {{act_after: 1s}}
"""
REMEDY = """
apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
metadata: {name: all}
spec: {remediations: [{problemType: default, actionsOnOpen: [{action: bench-noop}]}]}
"""


def alert(number: int) -> dict[str, Any]:
    """One alert, with labels of about 300 bytes."""
    labels = {
        "alertname": "TooManyErrors",
        "service": f"service-{number}",
        "stage": "production",
        "instance": f"10.0.{number // 250 % 250}.{number % 250}:8080",
        "pod": f"service-{number}-7d9f8b6c5-x{number:05}",
        "runbook": "https://runbooks.example/too-many-errors/" + "x" * 100,
    }
    return {
        "status": "firing",
        "labels": labels,
        "annotations": {"summary": f"too many errors of service-{number}"},
        "startsAt": "2026-03-02T12:00:00Z",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus:9090/graph",
        "fingerprint": f"{number:016x}",
    }


class Place:
    """A service in standalone mode, and an Alertmanager that lists what was sent."""

    def __init__(self, server: Server, http: ClientSession, ops: int, intake: int) -> None:
        self.server = server
        self.http = http
        self.listed: list[dict[str, Any]] = []
        self._ops, self._intake = ops, intake

    async def send(self, alerts: list[dict[str, Any]]) -> float:
        """Send one message; returns the seconds until it was accepted."""
        body = orjson.dumps({"version": "4", "truncatedAlerts": 0, "alerts": alerts})
        url = f"http://127.0.0.1:{self._intake}/intake/shop"
        began = time.perf_counter()
        headers = {"Authorization": f"Bearer {SECRET}", "Content-Type": "application/json"}
        async with self.http.post(url, data=body, headers=headers) as answer:
            await answer.read()
            answer.raise_for_status()
        return time.perf_counter() - began

    async def looked(self) -> float:
        """The seconds that another port of the same event loop takes to answer."""
        began = time.perf_counter()
        async with self.http.get(f"http://127.0.0.1:{self._ops}/healthz") as answer:
            await answer.read()
        return time.perf_counter() - began

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.endswith("status"):
            return web.json_response({"uptime": "2020-01-01T00:00:00Z"})
        state = {"state": "active", "silencedBy": [], "inhibitedBy": []}
        more = {"receivers": [{"name": "remedy"}], "status": state}
        return web.Response(
            body=orjson.dumps([{**each, **more} for each in self.listed]),
            content_type="application/json",
        )


def _write(folder: Path, url: str) -> None:
    remedies = folder / "remediations/shop"
    remedies.mkdir(parents=True)
    (remedies / "remediation.yaml").write_text(REMEDY)
    (folder / "secret").write_text(SECRET)
    (folder / "sources.yaml").write_text(SOURCES.format(folder=folder, url=url))


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def place(folder: Path) -> AsyncIterator[Place]:
    """Run the service until the block is left."""
    ops, intake = free_port(), free_port()
    holder: list[Place] = []

    async def answer(request: web.Request) -> web.Response:
        return await holder[0].answer(request) if holder else web.json_response([])

    app = web.Application()
    app.router.add_get("/{tail:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        url = "http://{}:{}".format(*runner.addresses[0])
        _write(folder, url)
        async with (
            standalone(folder, ops, intake) as server,
            ClientSession() as http,
        ):
            holder.append(Place(server, http, ops, intake))
            yield holder[0]
    finally:
        await runner.cleanup()


async def accepted(folder: Path) -> tuple[float, float]:
    """Milliseconds until a message of 5 alerts is accepted at 200 a second: p99, and the memory."""
    async with place(folder) as it:
        await it.send([alert(0)])
        took: list[asyncio.Task[float]] = []
        began = time.perf_counter()
        for number in range(MESSAGES):
            await asyncio.sleep(max(0.0, began + number / PER_SECOND - time.perf_counter()))
            alerts = [alert(number * ALERTS + each) for each in range(ALERTS)]
            took.append(asyncio.create_task(it.send(alerts)))
        found = sorted(await asyncio.gather(*took))
        return found[int(len(found) * 0.99)] * 1e3, it.server.peak_megabytes


async def large(folder: Path) -> tuple[float, float]:
    """Seconds until a message of 5,000 alerts is stored, and the longest delay meanwhile in ms."""
    async with place(folder) as it:
        await it.send([alert(0)])
        sending = asyncio.create_task(it.send([alert(each) for each in range(LARGE)]))
        delays = [0.0]
        while not sending.done():
            delays.append(await it.looked())
        return await sending, max(delays) * 1e3


async def idle(folder: Path) -> tuple[float, float, float]:
    """Of 10,000 open episodes: the share of a core, the memory in MB, and the longest delay in ms.
    It includes a comparison with all that the Alertmanager lists.
    """
    async with place(folder) as it:
        alerts = [alert(each) for each in range(OPEN)]
        it.listed = alerts
        for begin in range(0, OPEN, 500):
            await it.send(alerts[begin : begin + 500])
        await asyncio.sleep(20)
        cpu, began = it.server.cpu_seconds, time.perf_counter()
        delays = [0.0]
        while time.perf_counter() - began < IDLE_SECONDS:
            delays.append(await it.looked())
            await asyncio.sleep(0.02)
        share = (it.server.cpu_seconds - cpu) / (time.perf_counter() - began)
        return share, it.server.megabytes, max(delays) * 1e3
