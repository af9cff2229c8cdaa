#!/usr/bin/env bash
# python-gitlab 8.6.0: looking at a feature flag's strategies makes the next save write them.
#
# Guess: `save()` sends the attributes that were assigned. Reading one changes nothing.
# Seen: an attribute that holds a list counts as changed once it was read. A script that prints the
#   rollout and then saves a new description sends the old strategies with it: a colleague's 50 %
#   falls back to 10 %, with 200.
# Do: change a flag with `project.feature_flags.update(name, {"description": …})`, which sends what
#   it is given.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install python-gitlab==8.6.0

"$folder/venv/bin/python" - <<'PY'
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from gitlab import Gitlab

print("python-gitlab", version("python-gitlab"))
flag = {}


class Server(BaseHTTPRequestHandler):
    """Stands in for GitLab: one feature flag, and PUT changes what it names."""

    def do_GET(self):
        self.answer()

    def do_PUT(self):
        flag.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer()

    def answer(self):
        body = json.dumps(flag).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def rollout(percentage):
    parameters = {"groupId": "default", "percentage": percentage}
    return [{"id": 1, "name": "gradualRolloutUserId", "parameters": parameters, "scopes": []}]


def describe(look, save):
    """What the rollout is after a description was saved, and a colleague set 50 % before that."""
    flag.update(name="new-checkout", active=True, description="", strategies=rollout("10"))
    mine = flags.get("new-checkout")
    if look:
        assert mine.strategies[0]["parameters"]["percentage"] == "10"
    flag["strategies"] = rollout("50")
    save(mine)
    assert flag["description"] == "asked by support"
    return flag["strategies"][0]["parameters"]["percentage"] + " %"


def assign(mine):
    mine.description = "asked by support"
    mine.save()


def update(mine):
    flags.update(mine.name, {"description": "asked by support"})


server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
threading.Thread(target=server.serve_forever, daemon=True).start()
client = Gitlab(f"http://127.0.0.1:{server.server_port}", private_token="none")
flags = client.projects.get(1, lazy=True).feature_flags
try:
    seen = {
        "assigned and saved": describe(look=False, save=assign),
        "looked at, assigned and saved": describe(look=True, save=assign),
        "looked at, updated by name": describe(look=True, save=update),
    }
finally:
    server.shutdown()
recorded = {
    "assigned and saved": "50 %",
    "looked at, assigned and saved": "10 %",
    "looked at, updated by name": "50 %",
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
