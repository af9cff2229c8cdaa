#!/usr/bin/env bash
# opentelemetry-sdk 1.45.2: `force_flush` says True when the collector refused every span.
#
# Guess: `force_flush(500)` returns after half a second at most, and True means that the spans were
#   exported. Its documentation promises False when the time is exceeded.
# Seen: it is True whatever the collector answers: 400, a redirect, or 503 for good. With 503 it
#   takes as long as the exporter retries: seconds, not half a one. The spans are gone.
# Do: to know whether spans arrive, wrap the exporter and count what its `export` returns. To leave
#   in time, give the exporter a short `timeout`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2

"$folder/venv/bin/python" - <<'PY'
import logging
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

logging.disable(logging.CRITICAL)
print("opentelemetry-sdk", version("opentelemetry-sdk"))


class Collector(BaseHTTPRequestHandler):
    """Answers every export with one status."""

    status = 200

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def flush(status, exporter_seconds=10.0):
    """What a flush of half a second says, and whether it took about that."""
    Collector.status = status
    url = f"http://127.0.0.1:{server.server_port}/v1/traces"
    exporter = OTLPSpanExporter(endpoint=url, timeout=exporter_seconds)
    results = []
    export = exporter.export

    def counted(spans):
        results.append(export(spans).name)
        return results[-1]

    exporter.export = counted
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    with provider.get_tracer("remedy").start_as_current_span("toggle-feature"):
        pass
    began = time.monotonic()
    flushed = provider.force_flush(500)
    in_time = time.monotonic() - began < 2
    provider.shutdown()
    return {"flushed": flushed, "in time": in_time, "export": results}


server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
threading.Thread(target=server.serve_forever, daemon=True).start()
try:
    seen = {
        "200": flush(200),
        "400": flush(400),
        "503": flush(503),
        "503, exporter gives up after 0.5 s": flush(503, exporter_seconds=0.5),
    }
finally:
    server.shutdown()
recorded = {
    "200": {"flushed": True, "in time": True, "export": ["SUCCESS"]},
    "400": {"flushed": True, "in time": True, "export": ["FAILURE"]},
    "503": {"flushed": True, "in time": False, "export": ["FAILURE"]},
    "503, exporter gives up after 0.5 s": {"flushed": True, "in time": True, "export": ["FAILURE"]},
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
