#!/usr/bin/env bash
# aiohttp 3.14.5: NO_PROXY=10.0.0.0/8 does not keep 10.1.2.3 away from the proxy.
#
# Guess: with `trust_env=True` the client reads NO_PROXY as curl, Go and requests do: networks such
#   as 10.0.0.0/8 count, which cluster manifests set for pods and services.
# Seen: it asks the standard library, which compares texts. A network matches nothing: the request,
#   with its token, goes to the proxy. requests, in the same process, goes directly.
# Do: decide with `ipaddress` whether a proxy applies, and pass `proxy=` for each request.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  aiohttp==3.14.5 yarl==1.25.1 multidict==7.2.1 requests==2.34.2

"$folder/venv/bin/python" - <<'PY'
import asyncio
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import aiohttp
import requests

print("aiohttp", version("aiohttp"), "requests", version("requests"))


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.name.encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serving(name):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    server.name = name
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


async def by_aiohttp(url):
    async with aiohttp.ClientSession(trust_env=True) as session, session.get(url) as answer:
        return await answer.text()


def by_requests(url):
    return requests.get(url, timeout=10).text


proxy, service = serving("the proxy"), serving("the service")
for name in list(os.environ):
    if name.lower().endswith("_proxy"):
        del os.environ[name]
os.environ["HTTP_PROXY"] = os.environ["http_proxy"] = f"http://127.0.0.1:{proxy.server_port}"
url = f"http://127.0.0.1:{service.server_port}/"
seen = {}
try:
    for excepted in ("127.0.0.1", "127.0.0.0/8"):
        os.environ["NO_PROXY"] = os.environ["no_proxy"] = excepted
        seen[excepted] = {"aiohttp": asyncio.run(by_aiohttp(url)), "requests": by_requests(url)}
finally:
    proxy.shutdown()
    service.shutdown()
recorded = {
    "127.0.0.1": {"aiohttp": "the service", "requests": "the service"},
    "127.0.0.0/8": {"aiohttp": "the proxy", "requests": "the service"},
}
for excepted, answered in seen.items():
    print(f"NO_PROXY={excepted}, answered by: {answered}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
