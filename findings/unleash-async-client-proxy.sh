#!/usr/bin/env bash
# UnleashClient 6.9.1: the async client reaches no proxy, whatever it is told.
#
# Guess: AsyncUnleashClient takes the settings of UnleashClient, so HTTP_PROXY and
#   `custom_options={"proxies": …}` hold for it, too.
# Seen: it accepts `custom_options` and never reads them, and its session ignores the environment.
#   Behind a proxy it initialises without an error and answers False for each flag.
# Do: use UnleashClient behind a proxy, or fetch the flags yourself and evaluate them with
#   yggdrasil-engine.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  'UnleashClient[async]==6.9.1' yggdrasil-engine==2.0.0 aiohttp==3.14.5 requests==2.34.2

mkdir "$folder/home"
HOME="$folder/home" XDG_CACHE_HOME="$folder/home" "$folder/venv/bin/python" - "$folder" <<'PY'
import asyncio
import json
import logging
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from UnleashClient import UnleashClient
from UnleashClient.clients.async_unleash_client import AsyncUnleashClient
from UnleashClient.utils import InstanceAllowType

logging.disable(logging.CRITICAL)
print("UnleashClient", version("UnleashClient"))
FLAGS = {"version": 2, "features": [{"name": "new-checkout", "enabled": True, "strategies": []}]}


class Proxy(BaseHTTPRequestHandler):
    """The only way to Unleash, whose own name is known to nobody else."""

    def do_GET(self):
        self.server.asked += 1
        body = json.dumps(FLAGS).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
threading.Thread(target=proxy.serve_forever, daemon=True).start()
address = f"http://127.0.0.1:{proxy.server_port}"
for name in list(os.environ):
    if name.lower().endswith("_proxy"):
        del os.environ[name]
os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = address


def settings(app_name):
    return {
        "url": "http://unleash.invalid/api",
        "app_name": app_name,
        "custom_headers": {"Authorization": "default:production.token"},
        "custom_options": {"proxies": {"http": address}},
        "cache_directory": os.path.join(sys.argv[1], app_name),
        "request_retries": 0,
        "disable_metrics": True,
        "disable_registration": True,
        "multiple_instance_mode": InstanceAllowType.SILENTLY_ALLOW,
    }


def told(client, asked):
    enabled = client.is_enabled("new-checkout")
    return {
        "initialized": client.is_initialized,
        "flag": enabled,
        "proxy asked": proxy.asked > asked,
    }


def sync(asked):
    client = UnleashClient(**settings("sync"))
    client.initialize_client()
    try:
        return told(client, asked)
    finally:
        client.destroy()


async def asynchronous(asked):
    client = AsyncUnleashClient(**settings("async"))
    await client.initialize_client()
    try:
        return told(client, asked)
    finally:
        await client.destroy()


proxy.asked = 0
try:
    seen = {"UnleashClient": sync(proxy.asked)}
    seen["AsyncUnleashClient"] = asyncio.run(asynchronous(proxy.asked))
finally:
    proxy.shutdown()
recorded = {
    "UnleashClient": {"initialized": True, "flag": True, "proxy asked": True},
    "AsyncUnleashClient": {"initialized": True, "flag": False, "proxy asked": False},
}
for client, answers in seen.items():
    print(f"{client}: {answers}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
