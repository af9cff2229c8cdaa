#!/usr/bin/env bash
# pagerduty 7.2.0: a trigger whose answer is lost opens two incidents, and one can't be resolved.
#
# Guess: `trigger(summary, source)` makes a key for the alert, or lets PagerDuty make one, and returns
#   it; `resolve` with that key ends what was opened.
# Seen: the client sends no key, and repeats the event after a lost connection or a 504. PagerDuty
#   makes a key for each request: two incidents. The caller gets the second key only, so the first
#   incident pages on though everything is resolved.
# Do: pass a `dedup_key` of your own in each trigger.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install pagerduty==7.2.0

"$folder/venv/bin/python" - <<'PY'
import json
import logging
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

import httpx2
from pagerduty import EventsApiV2Client

print("pagerduty", version("pagerduty"))
logging.disable()


class Events(BaseHTTPRequestHandler):
    """Keeps open alerts by their key, as PagerDuty does; the first answer doesn't arrive."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server = self.server
        server.requests += 1
        key = event.get("dedup_key") or f"key {server.requests}"
        if event["event_action"] == "trigger":
            server.open.add(key)
        else:
            server.open.discard(key)
        if server.requests == 1:
            if server.fault == "504":
                return self.answer(504, {})
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        self.answer(202, {"status": "success", "message": "", "dedup_key": key})

    def answer(self, status, document):
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            pass  # it has closed the connection itself

    def log_message(self, *_):
        pass


class ToLoopback(httpx2.HTTPTransport):
    """Carries what is for PagerDuty, where only https is allowed, to the server below."""

    def __init__(self, port):
        super().__init__()
        self.port = port

    def handle_request(self, request):
        request.url = request.url.copy_with(scheme="http", host="127.0.0.1", port=self.port)
        return super().handle_request(request)


def left_open(fault, **key):
    """What stays open of one alert that is triggered and resolved."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Events)
    server.daemon_threads, server.fault, server.requests, server.open = True, fault, 0, set()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    client = EventsApiV2Client("routing key", transport=ToLoopback(server.server_port))
    said = client.trigger("carts are slow", "monitor", **key)
    opened = sorted(server.open)
    client.resolve(said)
    server.shutdown()
    return {"opened": opened, "returned": said, "left open": sorted(server.open)}


seen = {
    "lost connection": left_open("lost"),
    "504": left_open("504"),
    "lost connection, own key": left_open("lost", dedup_key="carts"),
}
recorded = {
    "lost connection": {"opened": ["key 1", "key 2"], "returned": "key 2", "left open": ["key 1"]},
    "504": {"opened": ["key 1", "key 2"], "returned": "key 2", "left open": ["key 1"]},
    "lost connection, own key": {"opened": ["carts"], "returned": "carts", "left open": []},
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
