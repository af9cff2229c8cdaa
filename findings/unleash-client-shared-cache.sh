#!/usr/bin/env bash
# UnleashClient 6.9.1: a client for production answers with the flags of development.
#
# Guess: a client whose first fetch fails knows no flag. A cached answer is from its own server,
#   environment and token.
# Seen: the default cache is one folder per `app_name` and user. Whatever client of that name
#   fetched last filled it. After a failed fetch `is_initialized` is True, and the flags come from
#   that folder.
# Do: give each environment its own cache: `cache=FileCache(f"{app_name}-{environment}")`.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  UnleashClient==6.9.1 yggdrasil-engine==2.0.0 fcache==0.5.0

mkdir "$folder/home"
HOME="$folder/home" XDG_CACHE_HOME="$folder/home" "$folder/venv/bin/python" - <<'PY'
import json
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from UnleashClient import UnleashClient
from UnleashClient.cache import FileCache
from UnleashClient.utils import InstanceAllowType

logging.disable(logging.CRITICAL)
print("UnleashClient", version("UnleashClient"))
FLAGS = {"version": 2, "features": [{"name": "new-checkout", "enabled": True, "strategies": []}]}


class Server(BaseHTTPRequestHandler):
    """Has a flag that is on in development, and is down for production."""

    def do_GET(self):
        up = "development" in self.headers["Authorization"]
        body = json.dumps(FLAGS).encode() if up else b"{}"
        self.send_response(200 if up else 503)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def ask(environment, cache=None):
    client = UnleashClient(
        url=f"http://127.0.0.1:{server.server_port}/api",
        app_name="shop",
        environment=environment,
        custom_headers={"Authorization": f"default:{environment}.token"},
        cache=cache,
        request_retries=0,
        disable_metrics=True,
        disable_registration=True,
        multiple_instance_mode=InstanceAllowType.SILENTLY_ALLOW,
    )
    client.initialize_client()
    try:
        return {"initialized": client.is_initialized, "flag": client.is_enabled("new-checkout")}
    finally:
        client.destroy()


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
try:
    seen = {
        "production, server down, empty cache": ask("production"),
        "development, server up": ask("development"),
        "production, server down": ask("production"),
        "production, server down, own cache": ask("production", FileCache("shop-production")),
    }
finally:
    server.shutdown()
recorded = {
    "production, server down, empty cache": {"initialized": True, "flag": False},
    "development, server up": {"initialized": True, "flag": True},
    "production, server down": {"initialized": True, "flag": True},
    "production, server down, own cache": {"initialized": True, "flag": False},
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
