"""The floors: the least that a Python server with aiohttp can do. Stock event loop, no access log.

Run as `python bench/floors.py` or, for the whole loop, `python bench/floors.py SINK_URL`.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import AsyncIterator

from aiohttp import ClientSession, web

# Ready-made, of about the size of the reports that the provider writes.
_STARTED = json.dumps({"type": "floor.started", "data": "x" * 560}).encode()
_FINISHED = json.dumps({"type": "floor.finished", "data": "x" * 760}).encode()
_SINK = web.AppKey("sink", str)
_SESSION = web.AppKey("session", ClientSession)


async def acknowledge(request: web.Request) -> web.Response:
    json.loads(await request.read())
    return web.Response(status=202)


async def acknowledge_after_reports(request: web.Request) -> web.Response:
    json.loads(await request.read())
    for report in (_STARTED, _FINISHED):
        async with request.app[_SESSION].post(request.app[_SINK], data=report):
            pass
    return web.Response(status=202)


async def _one_session(app: web.Application) -> AsyncIterator[None]:
    async with ClientSession() as app[_SESSION]:
        yield


def main(sink_url: str | None) -> None:
    app = web.Application()
    if sink_url is None:
        app.router.add_post("/", acknowledge)
    else:
        app[_SINK] = sink_url
        app.cleanup_ctx.append(_one_session)
        app.router.add_post("/", acknowledge_after_reports)
    listener = socket.create_server(("127.0.0.1", 0))
    print(json.dumps({"event_port": listener.getsockname()[1]}), flush=True)  # as the provider
    web.run_app(app, sock=listener, access_log=None, print=None)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
