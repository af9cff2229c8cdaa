#!/usr/bin/env bash
# sseclient-py 1.9.0: an event that a lost connection cuts short is delivered as a whole one.
#
# Guess: an event counts once its empty line has come, as the specification says. The rest of a
#   connection that ends in the middle of an event is dropped, and comes again after a reconnect.
# Seen: `SSEClient.events` yields the rest: "scale to 1" of "scale to 10". Its id is the new one, so
#   a client that asks for what follows the last id never gets the whole event. httpx-sse drops it.
# Do: check that the data is complete, say by a field that closes it, before you act on it.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  sseclient-py==1.9.0 requests==2.34.2 httpx-sse==0.4.3 httpx==0.28.1

"$folder/venv/bin/python" - <<'PY'
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import httpx
import requests
import sseclient
from httpx_sse import connect_sse

print(*(f"{name} {version(name)}" for name in ("sseclient-py", "httpx-sse")))


class Stream(BaseHTTPRequestHandler):
    """Ends in the middle of the second event, as a server does that restarts."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.end_headers()
        self.wfile.write(b"id: 1\ndata: scale to 20\n\nid: 2\ndata: scale to 1")

    def log_message(self, *_):
        pass


def by_sseclient(url):
    events = sseclient.SSEClient(requests.get(url, stream=True, timeout=10)).events()
    return [(event.id, event.data) for event in events]


def by_httpx_sse(url):
    with httpx.Client() as client, connect_sse(client, "GET", url) as source:
        return [(event.id, event.data) for event in source.iter_sse()]


server = ThreadingHTTPServer(("127.0.0.1", 0), Stream)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"
seen = {"sseclient-py": by_sseclient(url), "httpx-sse": by_httpx_sse(url)}
server.shutdown()
recorded = {
    "sseclient-py": [("1", "scale to 20"), ("2", "scale to 1")],
    "httpx-sse": [("1", "scale to 20")],
}
for name, events in seen.items():
    print(f"{name}: {events}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
