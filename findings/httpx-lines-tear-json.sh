#!/usr/bin/env bash
# httpx 0.28.1, requests 2.34.2: a stream of JSON lines is torn where a text holds U+2028 or U+0085.
#
# Guess: `iter_lines` splits what servers send as lines: at \n, perhaps at \r\n. JSON has neither
#   inside of a text, so that each line of a watch or a log is one document.
# Seen: httpx splits at everything that Unicode calls a line boundary, as `str.splitlines` does. A
#   note that was pasted from a document makes three lines of one event, none of which is JSON.
#   requests does the same with `decode_unicode=True`, and not without it.
# Do: split the bytes at b"\n" yourself; with requests, leave `decode_unicode` off.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  httpx==0.28.1 requests==2.34.2

"$folder/venv/bin/python" - <<'PY'
import http.server
import json
import sys
import threading
from importlib.metadata import version

import httpx
import requests

print(*(f"{name} {version(name)}" for name in ("httpx", "requests")))
EVENTS = [{"note": "scaled\u2028for the sale"}, {"note": "one\u0085two"}, {"note": "plain"}]
BODY = "".join(json.dumps(event, ensure_ascii=False) + "\n" for event in EVENTS).encode()


class Server(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/x-ndjson; charset=utf-8")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"


def is_json(line):
    try:
        return bool(json.loads(line))
    except ValueError:
        return False


def by_httpx():
    with httpx.stream("GET", url, trust_env=False) as answer:
        return list(answer.iter_lines())


def by_requests(**given):
    session = requests.Session()
    session.trust_env = False
    with session, session.get(url, stream=True) as answer:
        return list(answer.iter_lines(**given))


lines = {
    "httpx": by_httpx(),
    "requests, decode_unicode=True": by_requests(decode_unicode=True),
    "requests": by_requests(),
    "split at \\n": BODY.splitlines(),
}
server.shutdown()
seen = {name: (len(found), sum(map(is_json, found))) for name, found in lines.items()}
for name, (count, good) in seen.items():
    print(f"{name}: {len(EVENTS)} documents became {count} lines, of which {good} are JSON")
recorded = {
    "httpx": (5, 1),
    "requests, decode_unicode=True": (5, 1),
    "requests": (3, 3),
    "split at \\n": (3, 3),
}
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
