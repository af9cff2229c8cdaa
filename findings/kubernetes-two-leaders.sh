#!/usr/bin/env bash
# kubernetes 37.0.2: a leader whose API server stops answering stays leader beside the next one.
#
# Guess: a leader that has not renewed its lease within `renew_deadline` stops leading, before
#   `lease_duration` lets another candidate in.
# Seen: the deadline is looked at between two requests, and a request has no time-out. While one
#   hangs, `onstopped_leading` is not called, however long that lasts. The second candidate, whose
#   requests are answered, becomes leader after `lease_duration`; then two lead. A connection that
#   fails at once ends the first leader's time as promised.
# Do: guard each write with a fencing number, or watch the renewals from a thread of your own.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install kubernetes==37.0.2

"$folder/venv/bin/python" - <<'PY'
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from kubernetes import client
from kubernetes.leaderelection import electionconfig, leaderelection
from kubernetes.leaderelection.resourcelock.configmaplock import ConfigMapLock

print("kubernetes", version("kubernetes"))
LEASE, RENEW, RETRY = 4, 3, 1


class Cluster:
    """One ConfigMap, which each candidate reaches by an address of its own."""

    def __init__(self):
        self.config_map, self.revision, self.lock = None, 0, threading.Lock()
        self.leading = set()

    def address(self, fault):
        cluster = self

        class Server(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self, status, document):
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def works(self):
                if fault.get("kind") == "hangs":
                    threading.Event().wait()
                return fault.get("kind") is None

            def do_GET(self):
                if not self.works():
                    return self.answer(503, {"code": 503})
                with cluster.lock:
                    found = cluster.config_map
                self.answer(200 if found else 404, found or {"code": 404})

            def store(self):
                stored = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if not self.works():
                    return self.answer(503, {"code": 503})
                with cluster.lock:
                    now = cluster.config_map and cluster.config_map["metadata"]["resourceVersion"]
                    if stored["metadata"].get("resourceVersion") != now:
                        return self.answer(409, {"code": 409})
                    cluster.revision += 1
                    stored["metadata"]["resourceVersion"] = str(cluster.revision)
                    cluster.config_map = stored
                self.answer(200, stored)

            do_POST = do_PUT = store

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    def candidate(self, name, fault):
        configuration = client.Configuration()
        configuration.host = self.address(fault)
        client.Configuration.set_default(configuration)
        election = electionconfig.Config(
            ConfigMapLock("leader", "default", name),
            lease_duration=LEASE,
            renew_deadline=RENEW,
            retry_period=RETRY,
            onstarted_leading=lambda: self.leading.add(name),
            onstopped_leading=lambda: self.leading.discard(name),
        )
        threading.Thread(target=leaderelection.LeaderElection(election).run, daemon=True).start()


def until(condition, seconds):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)


def leaders_after(kind):
    """Who leads, five leases after the first leader's requests have met the fault."""
    cluster, fault = Cluster(), {}
    cluster.candidate("first", fault)
    until(lambda: "first" in cluster.leading, 30)
    cluster.candidate("second", {})
    time.sleep(2 * RETRY)
    fault["kind"] = kind
    until(lambda: "second" in cluster.leading, 30)
    time.sleep(5 * LEASE)
    return sorted(cluster.leading)


seen = {kind: leaders_after(kind) for kind in ("refuses", "hangs")}
recorded = {"refuses": ["second"], "hangs": ["first", "second"]}
for kind, leaders in seen.items():
    print(f"the first leader's API server {kind}: {' and '.join(leaders)} lead")
if seen != recorded:
    print(f"This has changed. Recorded was: {recorded}", file=sys.stderr)
sys.stdout.flush()
os._exit(seen != recorded)  # the elections run in threads without an end
PY
