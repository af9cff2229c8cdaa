"""A Keptn for tests that is reached by its API alone, as a remote execution plane does."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from os import PathLike
from typing import Any, Final

import orjson
from aiohttp import web
from aiohttp.typedefs import Handler

from keptn_remedy.events import LOG_ERROR
from keptn_remedy.testing.fake_keptn import Answer, FakeKeptn, body_of
from keptn_remedy.testing.keptn_api import error
from keptn_remedy.testing.keptn_sidecar import decode
from keptn_remedy.testing.keptn_task import Received, Release

TOKEN: Final = "a-token-of-keptn"  # noqa: S105  no secret
INTERVAL_SECONDS: Final = 0.1
# How many wrong tokens the gateway takes in so many seconds (docs/keptn.md#k29).
WRONG_TOKENS: Final = 2


class PollingKeptn(FakeKeptn):
    """Keptn's control plane behind its gateway, which wants the token `token`."""

    _logs_finished = False

    def __init__(self, release: Release = "1.4") -> None:
        super().__init__(release)
        self.token = TOKEN
        self._refused: deque[tuple[int, dict[str, str]]] = deque()
        self._wrong: deque[float] = deque()

    @property
    def api_url(self) -> str:
        """Keptn's API: the value for `KEPTN_API_ENDPOINT`."""
        return f"{self.url}/api"

    @property
    def environment(self) -> dict[str, str]:
        return {
            "REMEDY_TRANSPORT": "polling",
            "KEPTN_API_ENDPOINT": self.api_url,
            "KEPTN_API_TOKEN": TOKEN,
            "HTTP_POLLING_INTERVAL": str(INTERVAL_SECONDS),
        }

    async def deliver(
        self, event: Mapping[str, Any] | bytes | PathLike[str], *, to: str = ""
    ) -> Answer:
        """Open the task that the event triggers. Nobody says who finds it."""
        self._tasks.add(decode(body_of(event)) or {})
        return Answer(202, b"")

    def refuse_next(
        self, status: int = 429, *, times: int = 1, retry_after: str | None = None
    ) -> None:
        """Answer the next requests with this status, before anything is read."""
        headers = {"Retry-After": retry_after} if retry_after else {}
        self._refused.extend([(status, headers)] * times)

    @property
    def refusing(self) -> bool:
        """Whether the next request is answered by what `refuse_next` said."""
        return bool(self._refused)

    def _application(self) -> web.Application:
        @web.middleware
        async def gateway(request: web.Request, handler: Handler) -> web.StreamResponse:
            return self._refusal(request) or await handler(request)

        api = web.Application(client_max_size=0, middlewares=[gateway])
        api.router.add_post("/v1/event", self._take_api_event)
        self._api.add_to(api, self.take_log)
        application = web.Application(client_max_size=0)
        application.add_subapp("/api/", api)
        return application

    async def _take_api_event(self, request: web.Request) -> web.Response:
        answer = await self.take_event(request)
        if answer.status != 200:
            return answer
        context = (decode(await request.read()) or {}).get("shkeptncontext")
        body = orjson.dumps({"keptnContext": context})
        return web.Response(body=body, content_type="application/json")

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self._refused:
            status, headers = self._refused.popleft()
            return web.Response(status=status, headers=headers)
        if request.headers.get("x-token") == self.token:
            return None
        now = time.monotonic()
        while self._wrong and now - self._wrong[0] > WRONG_TOKENS:
            self._wrong.popleft()
        if len(self._wrong) >= WRONG_TOKENS:
            return web.Response(status=429)
        self._wrong.append(now)
        return error(401, "unauthorized")

    def _log(self, received: Received) -> None:
        """Log nothing of an event that is posted to the API (docs/keptn.md#k26)."""
        if received.type != LOG_ERROR:
            super()._log(received)
