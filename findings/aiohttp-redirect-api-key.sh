#!/usr/bin/env bash
# aiohttp 3.14.5: a redirect carries the API key to another host, and turns a POST into a GET.
#
# Guess: like `Authorization`, other credentials stay at the host that they were meant for; a POST
#   that meets a 301 is sent again as a POST, or fails.
# Seen: only Authorization, Cookie and Proxy-Authorization are dropped. `X-Api-Key` and the like go
#   wherever the answer says. After 301, 302 and 303 a POST arrives as a GET without a body, and its
#   200 is the 200 of the POST.
# Do: pass `allow_redirects=False` and treat 3xx as an error. Where redirects must be followed, let
#   a client middleware drop headers once the origin differs.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  aiohttp==3.14.5 yarl==1.25.1 multidict==7.2.1

"$folder/venv/bin/python" - <<'PY'
import asyncio
import sys
from importlib.metadata import version

from aiohttp import ClientSession, web

print("aiohttp", version("aiohttp"))
SECRETS = {"Authorization": "Bearer secret", "Cookie": "id=secret", "X-Api-Key": "secret"}


async def serving(handler):
    """The address of a server; another port is another origin, as another host is."""
    server = web.AppRunner(web.Application())
    server.app.router.add_route("*", "/", handler)
    await server.setup()
    site = web.TCPSite(server, "127.0.0.1", 0)
    await site.start()
    return server, f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}/"


async def post(status):
    """What the other host gets of a POST that the first one redirects."""
    got = {}

    async def elsewhere(request):
        got.update(method=request.method, body=await request.text())
        got["secrets"] = sorted(set(SECRETS) & set(request.headers))
        return web.Response(text="fine")

    other, address = await serving(elsewhere)

    async def moved(_):
        return web.Response(status=status, headers={"Location": address})

    first, start = await serving(moved)
    try:
        async with ClientSession() as session:
            async with session.post(start, data="purge", headers=SECRETS) as answer:
                return {"the caller sees": answer.status, **got}
    finally:
        await first.cleanup()
        await other.cleanup()


seen = {status: asyncio.run(post(status)) for status in (301, 302, 303, 307, 308)}
as_get = {"the caller sees": 200, "method": "GET", "body": "", "secrets": ["X-Api-Key"]}
as_post = {**as_get, "method": "POST", "body": "purge"}
recorded = {301: as_get, 302: as_get, 303: as_get, 307: as_post, 308: as_post}
for status, got in seen.items():
    print(f"POST that meets {status}: {got}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
