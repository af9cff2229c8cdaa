"""The ops port: its listener, and the handlers that only read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from functools import cache, partial
from typing import TYPE_CHECKING

import orjson
from aiohttp import web

from keptn_remedy.action import PlannedAction
from keptn_remedy.guardrails.pauses import Pauses
from keptn_remedy.http_server import Limits, Refusals, listening
from keptn_remedy.http_server.limits import of_ops
from keptn_remedy.journal import JournalError, Records
from keptn_remedy.ops import models
from keptn_remedy.ops.answers import json_answer, problem, problems
from keptn_remedy.ops.executions_api import ExecutionsApi, sent
from keptn_remedy.ops.operator_api import MAX_BODY_BYTES, OperatorApi
from keptn_remedy.ops.page.built import BuiltPage
from keptn_remedy.registry import Registry
from keptn_remedy.support.masking import Mask
from keptn_remedy.support.metrics import Metrics

if TYPE_CHECKING:
    from keptn_remedy.ops.agents.door import Door
    from keptn_remedy.ops.episode_api import EpisodeApi

# So many large answers are made and sent at a time, away from the event loop: whoever asks for
# many, or does not read them, costs neither memory nor the time of events.
LARGE_ANSWERS = 4


class OpsPort:
    """Serves the ops port. `readiness` is called for each `/readyz`. Without an `operator_api` the
    port has no route that changes anything. `port` is the real one while it listens; `names` are
    those that it answers to on loopback, besides its own.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        journal: Records,
        registry: Registry,
        metrics: Metrics,
        readiness: Callable[[], Awaitable[models.Readiness]],
        pauses: Pauses,
        mask: Mask,
        version: str,
        operator_api: OperatorApi | None = None,
        page: BuiltPage | None = None,
        episode_api: EpisodeApi | None = None,
        door: Door | None = None,
        names: Collection[str] = (),
        limits: Limits | None = None,
    ) -> None:
        self.port = port
        self._host = host
        self._journal = journal
        self._registry = registry
        self._metrics = metrics
        self._readiness = readiness
        self._pauses = pauses
        self._mask = mask
        self._names = names
        self._limits = limits or of_ops()
        self._operator_api = operator_api
        self._page = page
        self._episode_api = episode_api
        self._door = door
        self._large = asyncio.Semaphore(LARGE_ANSWERS)
        orders, episodes = operator_api is not None, episode_api is not None
        self._openapi = partial(_openapi, version, orders=orders, episodes=episodes)

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[None]:
        """Listen until the context is left.

        Raises:
            OSError: the address can't be bound (in use, or not permitted).
        """
        app = web.Application(
            middlewares=[problems, *([self._page.problems] if self._page else ())],
            client_max_size=MAX_BODY_BYTES,
        )
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._get_metrics)
        ExecutionsApi(self._journal, self._mask, self._large).add_to(app.router)
        app.router.add_get("/api/actions", self._actions)
        app.router.add_get("/api/pause", self._pause)
        app.router.add_get("/openapi.json", self._get_openapi)
        if self._operator_api:
            self._operator_api.add_to(app.router)
        if self._page:
            self._page.add_to(app.router)
        if self._episode_api:
            self._episode_api.add_to(app.router)
        if self._door:
            self._door.add_to(app.router)
        async with listening(
            app,
            self._host,
            self.port,
            problem=problem,
            limits=self._limits,
            refusals=Refusals("ops", self._metrics),
            names=self._names,
        ) as self.port:
            try:
                yield
            finally:
                if self._page:
                    await self._page.close()

    async def _healthz(self, _: web.Request) -> web.Response:
        return json_answer(models.Health())

    async def _readyz(self, _: web.Request) -> web.Response:
        readiness = await self._readiness()
        return json_answer(readiness, self._mask, status=200 if readiness.ready else 503)

    async def _get_metrics(self, request: web.Request) -> web.Response:
        # The other metrics matter most when the journal fails.
        with suppress(JournalError):
            backlog = await self._journal.backlog()
            self._metrics.open.set(backlog.executions)
            self._metrics.unsent.set(backlog.unsent)
            self._metrics.parked.set(backlog.parked)
            self._metrics.blocked.set(backlog.blocked)
            self._metrics.oldest_open.set(backlog.oldest_open_seconds)
            self._metrics.oldest_unsent.set(backlog.oldest_unsent_seconds)
        accept = request.headers.get("Accept", "")

        def expose() -> web.Response:
            body, content_type = self._metrics.exposition(accept)
            return web.Response(body=body, headers={"Content-Type": content_type})

        async with self._large:
            return await sent(request, await asyncio.to_thread(expose))

    async def _actions(self, _: web.Request) -> web.Response:
        actions = [
            models.ActionInfo.of(entry, planned=issubclass(entry.cls, PlannedAction))
            for entry in self._registry.entries
        ]
        actions += map(models.ActionInfo.of_broken, self._registry.broken)
        return json_answer(models.Actions(actions=actions), self._mask)

    async def _pause(self, _: web.Request) -> web.Response:
        pause = self._pauses.by_file or await self._journal.paused()
        return json_answer(models.Pause.of(pause), self._mask)

    async def _get_openapi(self, _: web.Request) -> web.Response:
        async with self._large:
            body = await asyncio.to_thread(self._openapi)
        return web.Response(body=body, content_type="application/json")


@cache
def _openapi(version: str, *, orders: bool, episodes: bool) -> bytes:
    """Made when first asked for: hardly any service is, and it takes memory and a tenth of a
    second.
    """
    from keptn_remedy.ops import openapi

    return orjson.dumps(openapi.document(version, orders=orders, episodes=episodes))
