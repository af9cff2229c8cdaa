"""What alerts cost in standalone mode: taken in, in one large message, and as open episodes."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientSession, web

from bench.load import CONNECTIONS, SERVICES_OF_EACH, Sending
from bench.measuring import Contender, Effort, Figure, compared
from bench.servers import Server, acknowledge_floor, standalone

SECRET = "a secret of the bench"  # noqa: S105  opens nothing
MESSAGES, ALERTS, PER_SECOND = 2_000, 5, 200
LARGE, OPEN = 5_000, 10_000
IDLE_SECONDS = 70.0
# One look after the other would take half of the core that is measured.
LOOK_SECONDS = 0.01
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
prometheus: {{url: "{url}/prom"}}
ladder: {{act_after: 1s, wait: 1s, window: 2s, hold_for: 1s}}
"""
STEPS = 20
SETTLE_SECONDS = 10.0
ACT_AFTER = 1.0
REMEDY = """
apiVersion: spec.keptn.sh/0.1.4
kind: Remediation
metadata: {name: all}
spec:
  remediations:
    - problemType: default
      actionsOnOpen: [{action: bench-noop, evaluation: {promql: {query: errors, want: "< 5"}}}]
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

    @property
    def intake(self) -> Server:
        """The same server, by its intake port."""
        return replace(self.server, port=self._intake)

    async def answer(self, request: web.Request) -> web.Response:
        if request.path.startswith("/prom"):
            return web.json_response({"status": "success", "data": _measured(request)})
        if request.path.endswith("status"):
            return web.json_response({"uptime": "2020-01-01T00:00:00Z"})
        state = {"state": "active", "silencedBy": [], "inhibitedBy": []}
        more = {"receivers": [{"name": "remedy"}], "status": state}
        return web.Response(
            body=orjson.dumps([{**each, **more} for each in self.listed]),
            content_type="application/json",
        )


def _measured(request: web.Request) -> dict[str, Any]:
    """What Prometheus answers: errors, and that they were measured a second ago."""
    if request.path.endswith("runtimeinfo"):
        return {"startTime": "2020-01-01T00:00:00Z"}
    value = "9" if request.query["query"] == "errors" else "1"
    return {"resultType": "vector", "result": [{"metric": {}, "value": [0, value]}]}


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


async def one_alert(folder: Path, effort: Effort) -> Figure:
    """Messages of one alert a second, beside the bare floor. They repeat what is known, as nearly
    all of Alertmanager's do.
    """
    common = b"HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
    secret = b"Authorization: Bearer " + SECRET.encode() + b"\r\n"

    def message(number: int) -> tuple[str, bytes]:
        body = {"version": "4", "truncatedAlerts": 0, "alerts": [alert(number)]}
        return "", orjson.dumps(body)

    async with place(folder) as it, acknowledge_floor(folder) as floor:
        await it.send([alert(each) for each in range(CONNECTIONS * SERVICES_OF_EACH)])
        await asyncio.sleep(SETTLE_SECONDS)
        return await compared(
            "alerts-one",
            effort,
            Contender(floor, sending=Sending(b"POST / " + common + secret, message)),
            Contender(it.intake, sending=Sending(b"POST /intake/shop " + common + secret, message)),
            target=0.5,
        )


async def steps(folder: Path) -> tuple[float, float, float]:
    """How late the latest of 20 episodes is, in seconds: its first act after its waiting time, and
    its verdict after its window. Last, the memory in MB.
    """
    async with place(folder) as it:
        alerts = [alert(each) for each in range(STEPS)]
        it.listed = alerts
        await it.send(alerts)
        look = """SELECT began_at - opened_at - ?, judged_at - window_ends_at
            FROM episode_rungs JOIN episodes ON episode = seq WHERE judged_at IS NOT NULL"""
        async with asyncio.timeout(60):
            while True:
                await asyncio.sleep(1)
                with closing(sqlite3.connect(folder / "journal.db")) as journal:
                    late = journal.execute(look, (ACT_AFTER,)).fetchall()
                if len(late) == STEPS:
                    acts, verdicts = zip(*late, strict=True)
                    return max(acts), max(verdicts), it.server.peak_megabytes


async def large(folder: Path) -> tuple[float, float]:
    """Seconds until a message of 5,000 alerts is stored, and the longest delay meanwhile in ms."""
    async with place(folder) as it:
        await it.send([alert(0)])
        sending = asyncio.create_task(it.send([alert(each) for each in range(LARGE)]))
        delays = [0.0]
        while not sending.done():
            delays.append(await it.looked())
            await asyncio.sleep(LOOK_SECONDS)
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
