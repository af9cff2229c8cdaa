"""The handlers of the ops port. Nothing here changes anything."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, get_args

import orjson
from aiohttp import web
from pydantic import BaseModel

from keptn_remedy.action import PlannedAction
from keptn_remedy.journal import Journal, JournalError, State
from keptn_remedy.metrics import Metrics
from keptn_remedy.registry import Registry
from keptn_remedy.web import models, openapi

MAX_PAGE, DEFAULT_PAGE = 500, 100
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class OpsPort:
    """Serves the ops port. `readiness` is asked on each `/readyz`."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        journal: Journal,
        registry: Registry,
        metrics: Metrics,
        readiness: Callable[[], Awaitable[models.Readiness]],
        version: str,
    ) -> None:
        self.port = port
        self._host = host
        self._journal = journal
        self._registry = registry
        self._metrics = metrics
        self._readiness = readiness
        self._openapi = orjson.dumps(openapi.document(version))

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[None]:
        """Listen until the context is left.

        Raises:
            OSError: the address is not to be had.
        """
        app = web.Application(middlewares=[_problems])
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._get_metrics)
        app.router.add_get("/api/executions", self._executions)
        app.router.add_get("/api/executions/{id:[^/]+}", self._execution)
        app.router.add_get("/api/actions", self._actions)
        app.router.add_get("/openapi.json", self._get_openapi)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2, keepalive_timeout=30)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self.port, reuse_address=True).start()
            self.port = int(runner.addresses[0][1])
            yield
        finally:
            await runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return _json(models.Health())

    async def _readyz(self, _: web.Request) -> web.Response:
        readiness = await self._readiness()
        return _json(readiness, status=200 if readiness.ready else 503)

    async def _get_metrics(self, request: web.Request) -> web.Response:
        # When the journal fails, the other metrics are wanted most.
        with suppress(JournalError):
            backlog = await self._journal.backlog()
            self._metrics.open.set(backlog.executions)
            self._metrics.unsent.set(backlog.unsent)
            self._metrics.parked.set(backlog.parked)
            self._metrics.oldest_open.set(backlog.oldest_open_seconds)
            self._metrics.oldest_unsent.set(backlog.oldest_unsent_seconds)
        body, content_type = self._metrics.exposition(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})

    async def _executions(self, request: web.Request) -> web.Response:
        state = request.query.get("state")
        if state is not None and state not in get_args(State):
            raise _Mistake(400, f"state is one of {', '.join(get_args(State))}")
        limit = _number(request, "limit", 1, MAX_PAGE) or DEFAULT_PAGE
        before = _number(request, "before", 0, 2**53)
        found = await self._journal.records(state=_state(state), before=before, limit=limit)
        return _json(
            models.Executions(
                executions=[models.Execution.of(record) for record in found],
                next=found[-1].seq if len(found) == limit else None,
            )
        )

    async def _execution(self, request: web.Request) -> web.Response:
        record = await self._journal.record(request.match_info["id"])
        if record is None:
            raise _Mistake(404, "there is no such execution")
        return _json(models.ExecutionDetail.of(record))

    async def _actions(self, _: web.Request) -> web.Response:
        actions = [
            models.ActionInfo.of(entry, planned=issubclass(entry.cls, PlannedAction))
            for entry in self._registry.entries
        ]
        return _json(models.Actions(actions=actions))

    async def _get_openapi(self, _: web.Request) -> web.Response:
        return web.Response(body=self._openapi, content_type="application/json")


class _Mistake(Exception):
    def __init__(self, status: int, title: str) -> None:
        super().__init__(title)
        self.problem = models.Problem(title=title, status=status)


@web.middleware
async def _problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except _Mistake as mistake:
        return _problem(mistake.problem)
    except JournalError:
        return _problem(models.Problem(title="the journal can't be read", status=503))
    except web.HTTPException as error:
        if error.status < 400:
            raise
        answer = _problem(models.Problem(title=error.reason, status=error.status))
        if isinstance(error, web.HTTPMethodNotAllowed):
            answer.headers["Allow"] = ", ".join(sorted(error.allowed_methods))
        return answer


def _number(request: web.Request, name: str, least: int, most: int) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and least <= int(text) <= most):
        raise _Mistake(400, f"{name} is a whole number from {least} to {most}")
    return int(text)


def _state(text: str | None) -> Any:
    return text


def _problem(problem: models.Problem) -> web.Response:
    return _json(problem, status=problem.status, content_type="application/problem+json")


def _json(
    model: BaseModel, *, status: int = 200, content_type: str = "application/json"
) -> web.Response:
    # pydantic's own JSON writer gives up at fewer levels than what it may have to show.
    body = orjson.dumps(model.model_dump()) + b"\n"
    return web.Response(status=status, body=body, content_type=content_type)
