#!/usr/bin/env bash
# kubernetes 37.0.2: one event of the kubelet makes the whole list of events unreadable.
#
# Guess: events.k8s.io/v1 is the group to read events from today. Whatever the API server serves
#   there, the typed client can read.
# Seen: events that are still written through the core group, as the kubelet writes them, come with
#   `"eventTime": null`. The typed client requires a time, so one of them raises an error for the
#   list, and a watch ends. The same event through the core group is read.
# Do: read events with CoreV1Api, or without models (`_preload_content=False`).
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install kubernetes==37.0.2

"$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from kubernetes import client, watch

print("kubernetes", version("kubernetes"))
LAST = "2026-01-01T12:00:00Z"
KUBELETS = {"type": "Warning", "reason": "BackOff", "eventTime": None}
CORE = {**KUBELETS, "involvedObject": {"kind": "Pod", "name": "carts"}, "lastTimestamp": LAST}
NEW = {**KUBELETS, "regarding": {"kind": "Pod", "name": "carts"}, "deprecatedLastTimestamp": LAST}
TIMED = {**NEW, "eventTime": "2026-01-01T12:00:00.000000Z"}


def event(document, number):
    return {**document, "metadata": {"name": f"carts.{number}", "namespace": "shop"}}


class ApiServer(BaseHTTPRequestHandler):
    """Lists and watches one event with a time, then one of the kubelet."""

    def do_GET(self):
        first, second = (CORE, CORE) if self.path.startswith("/api/") else (TIMED, NEW)
        events = [event(first, 1), event(second, 2)]
        if "watch=" in self.path:
            lines = [json.dumps({"type": "ADDED", "object": each}) + "\n" for each in events]
            body = "".join(lines).encode()
        else:
            body = json.dumps({"metadata": {}, "items": events}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def listed(call):
    try:
        return len(call("shop").items)
    except Exception as error:
        return type(error).__name__


def watched(call):
    """How many events arrive, and what ends the watch."""
    count = 0
    try:
        for _ in watch.Watch().stream(call, "shop", timeout_seconds=1):
            count += 1
            if count == 2:
                break
    except Exception as error:
        return count, type(error).__name__
    return count, None


server = ThreadingHTTPServer(("127.0.0.1", 0), ApiServer)
threading.Thread(target=server.serve_forever, daemon=True).start()
configuration = client.Configuration()
configuration.host = f"http://127.0.0.1:{server.server_port}"
api = client.ApiClient(configuration)
core, new = client.CoreV1Api(api), client.EventsV1Api(api)
seen = {
    "core/v1": (listed(core.list_namespaced_event), watched(core.list_namespaced_event)),
    "events.k8s.io/v1": (listed(new.list_namespaced_event), watched(new.list_namespaced_event)),
}
recorded = {
    "core/v1": (2, (2, None)),
    "events.k8s.io/v1": ("ValidationError", (1, "ValidationError")),
}
for group, (list_, (count, end)) in seen.items():
    print(f"{group}: list {list_}; {count} of 2 watched, ended by {end}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
