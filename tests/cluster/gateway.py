"""A plain HTTP proxy before an API server: a test holds patches there, drops, or rewrites them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from keptn_remedy.testing.http_peer import hang_up
from tests.cluster.client import ApiError, Cluster, Json

# Tests of outages kill the API server: then the client's connection is cut, too.
LOST = (aiohttp.ClientError, TimeoutError)


class Moment(Enum):
    """When a patch is held: before the API server has it, or before the client has the answer."""

    REQUEST = auto()
    ANSWER = auto()


@dataclass(frozen=True)
class Denial:
    """What an API server answers where admission denies a request."""

    code: int
    status: Json


Admit = Callable[[web.BaseRequest, Any], Any]
"""Stands in for admission: returns the patch to pass on, or a `Denial`."""


def as_sent(_: web.BaseRequest, patch: Any) -> Any:
    return patch


def _changes(request: web.BaseRequest) -> bool:
    return request.method == "PATCH" and "dryRun" not in request.query


class Gateway:
    """Use as `async with Gateway.before(kubeconfig, tmp_path) as gateway`.

    It asks as the user of that kubeconfig, so that its own kubeconfig needs no credentials.
    """

    def __init__(self, cluster: Cluster) -> None:
        self.kubeconfig = Path()
        self.under_way = 0  # requests that came and were not answered yet
        self.changes = 0  # patches that took effect
        self.admit: Admit = as_sent
        self._cluster = cluster
        self._held_at: Moment | None = None
        self._held: list[tuple[Moment, asyncio.Future[bool]]] = []

    @classmethod
    @asynccontextmanager
    async def before(cls, kubeconfig: Path, folder: Path) -> AsyncIterator[Gateway]:
        """A gateway to the server that the kubeconfig names."""
        async with Cluster.connected(kubeconfig) as cluster:
            gateway = cls(cluster)
            # A killed provider may leave requests open: don't wait for them.
            server = web.Server(gateway._serve, access_log=None)
            runner = web.ServerRunner(server, shutdown_timeout=0.01)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            gateway._write_kubeconfig(folder, runner.addresses[0][1])
            try:
                yield gateway
            finally:
                gateway.lose()
                await runner.cleanup()

    def hold(self, moment: Moment) -> None:
        """Hold each patch that comes there, until `pass_on` or `lose`."""
        self._held_at = moment

    def holds(self, *moments: Moment) -> int:
        """How many patches are being held, at these moments or at any."""
        return sum(moment in (moments or Moment) for moment, _ in self._held)

    def pass_on(self, count: int) -> None:
        """Pass on that many of the patches that are held."""
        for _, verdict in self._take(count):
            verdict.set_result(True)

    def lose(self) -> None:
        """Lose every patch that is held, with its connection, and hold no more."""
        self._held_at = None
        for _, verdict in self._take(self.holds()):
            verdict.set_result(False)

    def _take(self, count: int) -> list[tuple[Moment, asyncio.Future[bool]]]:
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.under_way += 1
        try:
            if not await self._passes(Moment.REQUEST, request):
                return hang_up(request)
            answer = await self._answer(request)
            passes = await self._passes(Moment.ANSWER, request)
            return answer if passes else hang_up(request)
        except LOST:
            return hang_up(request)
        finally:
            self.under_way -= 1

    async def _passes(self, moment: Moment, request: web.BaseRequest) -> bool:
        if not _changes(request) or self._held_at is not moment:
            return True
        verdict: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._held.append((moment, verdict))
        return await verdict

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        body = await request.json() if request.can_read_body else None
        if request.method == "PATCH" and isinstance(body := self.admit(request, body), Denial):
            return web.json_response(body.status, status=body.code)
        try:
            said = await self._cluster.call(
                request.method, request.path, body, query=dict(request.query)
            )
        except ApiError as error:
            return web.json_response(error.body, status=error.status)
        self.changes += _changes(request)
        return web.json_response(said)

    def _write_kubeconfig(self, folder: Path, port: int) -> None:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tested", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
            "users": [{"name": "nobody", "user": {}}],
            "contexts": [{"name": "tested", "context": {"cluster": "tested", "user": "nobody"}}],
            "current-context": "tested",
        }
        self.kubeconfig = folder / f"{port}.kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump(config))
