"""What webhook adds to a bare call of aiohttp: `python -m bench.webhook`.

Both send the same POST to the same server, in turns, over one kept connection. webhook also fills
in its templates, checks where the request goes, and checks the answer.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median

import aiohttp
import orjson
from yarl import URL

from keptn_remedy.testing import triggered
from keptn_remedy_actions.http_calls import Call
from keptn_remedy_actions.http_calls.addresses import Hosts, Reach
from keptn_remedy_actions.http_calls.client import Client
from keptn_remedy_actions.http_calls.rendering import rendered
from keptn_remedy_actions.http_calls.sending import send

ROUNDS, CALLS = 21, 200
SERVER = """
from aiohttp import web
async def answer(request):
    await request.read()
    return web.json_response({"state": "ok"})
async def main():
    runner = web.ServerRunner(web.Server(answer, access_log=None))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()
import asyncio
asyncio.run(main())
"""


async def seconds_of(call: Callable[[], Awaitable[None]]) -> float:
    """CPU seconds of this process for one call."""
    before = time.process_time()
    for _ in range(CALLS):
        await call()
    return (time.process_time() - before) / CALLS


async def compare(port: int) -> None:
    url = f"http://127.0.0.1:{port}/hooks/carts"
    event = triggered("webhook", {"url": url})
    body = {"text": "{{ project }} is ill", "context": "{{ shkeptncontext }}"}
    webhook = Call.model_validate(
        {"url": url.replace("carts", "{{ service }}"), "body": body, "expect": {"status": 200}}
    )
    sent = orjson.dumps({"text": "sockshop is ill", "context": event["shkeptncontext"]})
    variables = {**event, **event["data"]}
    client = Client(Reach(Hosts.read("127.0.0.1"), Hosts.read("127.0.0.1")))
    async with aiohttp.ClientSession() as session:

        async def bare() -> None:
            headers = {"Content-Type": "application/json"}
            async with session.post(URL(url), data=sent, headers=headers) as answer:
                await answer.read()

        async def ours() -> None:
            await send(client, webhook, rendered(webhook, variables, {}))

        await asyncio.gather(bare(), ours())
        pairs = [(await seconds_of(bare), await seconds_of(ours)) for _ in range(ROUNDS)]
    await client.close()
    found = {
        "bare_us": round(1e6 * median(bare for bare, _ in pairs), 1),
        "webhook_us": round(1e6 * median(ours for _, ours in pairs), 1),
        "ratio": round(median(bare / ours for bare, ours in pairs), 3),
    }
    print(json.dumps(found))


def main() -> None:
    command = [sys.executable, "-c", SERVER]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            asyncio.run(compare(int(line)))
        finally:
            server.terminate()


if __name__ == "__main__":
    main()
