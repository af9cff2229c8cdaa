#!/usr/bin/env bash
# kr8s 0.20.15: a watch ends with the connection, and after a 410 it never tells anything again.
#
# Guess: `async for event, pod in api.async_watch("pods")` goes on for ever, as a watch of the other
#   clients does. When the API server says 410 Gone, since it has forgotten the last version that the
#   watch has seen, the watch lists anew.
# Seen: the API server ends each watch within an hour or so, and the loop then ends like one that
#   is done: no error, no log. After a 410, kr8s asks again from the version that is gone, without a
#   pause: the server gets over a hundred requests in some seconds, and the loop waits and looks calm.
# Do: put `while True` around the loop, list before each round, and bound how long a watch may be
#   silent.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install kr8s==0.20.15

cd "$folder"  # its cache and configuration are looked up below HOME
HOME="$folder" KUBECONFIG="$folder/none" "$folder/venv/bin/python" - <<'PY'
import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from urllib.parse import parse_qs, urlsplit

import kr8s.asyncio

print("kr8s", version("kr8s"))
SECONDS = 5
POD = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "default"}}
GONE = {"kind": "Status", "apiVersion": "v1", "code": 410, "reason": "Expired"}

PODS = {"name": "pods", "singularName": "pod", "kind": "Pod", "namespaced": True, "verbs": []}
DISCOVERY = {
    "/version": {"gitVersion": "v1.34.0", "major": "1", "minor": "34"},
    "/api": {"versions": ["v1"]},
    "/api/v1": {"groupVersion": "v1", "resources": [PODS]},
    "/apis": {"groups": []},
}


class ApiServer(BaseHTTPRequestHandler):
    """Knows one pod, ends its first watch, and then may say that the pod's version is gone."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        query = parse_qs(urlsplit(self.path).query)
        if "watch" in query:
            since = query.get("resourceVersion", [None])[0]
            self.server.watches.append(since)
            return self.watch(since)
        body = json.dumps(DISCOVERY[self.path.rstrip("/")])
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def watch(self, since):
        events = []
        if since is None:
            pod = {**POD, "metadata": {**POD["metadata"], "resourceVersion": "7"}}
            events.append({"type": "ADDED", "object": pod})
        if since is not None or self.server.forgets:
            events.append({"type": "ERROR", "object": GONE})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in events:
            self.wfile.write(json.dumps(event).encode() + b"\n")

    def log_message(self, *_):
        pass


async def watched(forgets):
    """The events that the loop sees, how it ends, and whether the server is asked often."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
    server.daemon_threads, server.forgets, server.watches = True, forgets, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    events = []
    api = await kr8s.asyncio.api(url=f"http://127.0.0.1:{server.server_port}")
    try:
        async with asyncio.timeout(SECONDS):
            async for event, pod in api.async_watch("pods"):
                events.append(f"{event} {pod.name}")
        how = "ends"
    except TimeoutError:
        how = "waits"
    except Exception as error:
        how = type(error).__name__
    server.shutdown()
    return events, how, server.watches


seen = {}
for what, forgets in (("the connection ends", False), ("the server says 410", True)):
    events, how, watches = asyncio.run(watched(forgets))
    print(f"{what}: events {events}; the loop {how}; {len(watches)} watches in {SECONDS} s, "
          f"from the versions {sorted(set(map(str, watches)))}")
    seen[what] = (events, how, len(watches) > 50, sorted(set(map(str, watches))))
recorded = {
    "the connection ends": (["ADDED web"], "ends", False, ["None"]),
    "the server says 410": (["ADDED web"], "waits", True, ["7", "None"]),
}
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
