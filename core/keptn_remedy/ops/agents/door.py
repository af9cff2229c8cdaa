"""The path `/mcp` of the ops port: the Model Context Protocol, for holders of the agents' token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from keptn_remedy.http_server import TooSlow
from keptn_remedy.ops.answers import HttpError
from keptn_remedy.ops.guesses import RateLimit
from keptn_remedy.ops.operator_token import OperatorToken
from keptn_remedy.ops.token_check import TokenCheck, Unauthorized
from keptn_remedy.support import logs
from keptn_remedy.support.metrics import Metrics

if TYPE_CHECKING:
    from mcp.server.lowlevel import Server

PATH: Final = "/mcp"


class Door:
    """Lets agents in. Each request stands for itself: there are no sessions and no streams, so that
    any replica answers, and nothing is held open.
    """

    def __init__(
        self,
        server: Server[Any],
        token: OperatorToken,
        metrics: Metrics,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._check = TokenCheck(token, "agents' token", metrics, monotonic)
        self._lines = RateLimit(monotonic)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Add the route."""
        router.add_post(PATH, self._handle)

    async def _handle(self, request: web.Request) -> web.Response:
        await self._authorize(request)
        try:
            body = await request.read()
        except TooSlow as error:
            raise HttpError(408, str(error)) from None
        except (web.RequestPayloadError, ConnectionError):
            raise HttpError(400, "the body can't be read") from None
        return await _answered(self._server, request, body)

    async def _authorize(self, request: web.Request) -> None:
        try:
            await self._check.authorize(request)
        except Unauthorized as error:
            if not self._lines.pause_seconds():  # requests without the token must not flood the log
                self._lines.note()
                reason = error.problem.title
                logs.logger().warning("agent refused", peer=request.remote, reason=reason)
            raise


async def _answered(server: Server[Any], request: web.Request, body: bytes) -> web.Response:
    """What the library answers. It speaks ASGI; here it gets one whole request and gives one whole
    answer.
    """
    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    never = asyncio.Event()
    status, headers, parts = 500, list[tuple[str, str]](), list[bytes]()
    received = False

    async def receive() -> MutableMapping[str, Any]:
        nonlocal received
        if received:
            await never.wait()
        received = True
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            headers.extend(
                (k.decode("latin-1"), v.decode("latin-1")) for k, v in message["headers"]
            )
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    manager = StreamableHTTPSessionManager(server, json_response=True, stateless=True)
    async with manager.run():
        await manager.handle_request(_scope(request), receive, send)
    kept = [(k, v) for k, v in headers if k.lower() not in ("content-length", "transfer-encoding")]
    return web.Response(status=status, headers=kept, body=b"".join(parts))


def _scope(request: web.Request) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": request.scheme,
        "path": request.path,
        "raw_path": request.raw_path.encode("ascii", "replace"),
        "query_string": request.query_string.encode(),
        "root_path": "",
        # Not the token: it has been looked at, and the library has no use for it.
        "headers": [
            (name.lower(), value)
            for name, value in request.raw_headers
            if name.lower() != b"authorization"
        ],
        "client": (request.remote or "", 0),
        "server": None,
    }
