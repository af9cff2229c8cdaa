#!/usr/bin/env bash
# prometheus-api-client 0.7.2: an answer that Prometheus calls incomplete looks like "no series".
#
# Guess: `custom_query` raises an error, or tells, when Prometheus adds `warnings`: its remote
#   storage could not be read, so the result lacks series. `check_prometheus_connection` is True if
#   a Prometheus answers.
# Seen: the warnings are dropped: an empty list, and None from `get_metric_aggregation`, are what
#   one also gets where no error occurred at all. The connection check is True for the login page
#   of a proxy, and for a body that says `"status": "error"`.
# Do: ask `/api/v1/query` by HTTP; take an answer with warnings, or another status, for "unknown".
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  prometheus-api-client==0.7.2 numpy

"$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from prometheus_api_client import PrometheusConnect

print("prometheus-api-client", version("prometheus-api-client"))
EMPTY = {"resultType": "vector", "result": []}
ANSWERS = {
    "complete": json.dumps({"status": "success", "data": EMPTY}),
    "incomplete": json.dumps(
        {"status": "success", "data": EMPTY, "warnings": ["remote read: connection refused"]}
    ),
    "error": json.dumps({"status": "error", "errorType": "timeout", "error": "timed out"}),
    "login page": "<html>Please sign in</html>",
}


class Prometheus(BaseHTTPRequestHandler):
    answer = ""

    def do_GET(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = ANSWERS[Prometheus.answer].encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_):
        pass


def told(ask):
    try:
        return ask()
    except Exception as error:
        return type(error).__name__


server = ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
threading.Thread(target=server.serve_forever, daemon=True).start()
prometheus = PrometheusConnect(f"http://127.0.0.1:{server.server_port}")
query = 'rate(errors_total{service="carts"}[5m])'
seen = {}
for answer in ANSWERS:
    Prometheus.answer = answer
    seen[answer] = (
        told(prometheus.check_prometheus_connection),
        told(lambda: prometheus.custom_query(query)),
        told(lambda: prometheus.get_metric_aggregation(query, ["max"])),
    )
recorded = {
    "complete": (True, [], None),
    "incomplete": (True, [], None),
    "error": (True, "KeyError", "KeyError"),
    "login page": (True, "JSONDecodeError", "JSONDecodeError"),
}
for answer, (connected, result, aggregated) in seen.items():
    print(f"{answer}: connected {connected}, query {result}, aggregation {aggregated}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
