#!/usr/bin/env bash
# apprise 2.2.0: a page that one channel never got is told as a success.
#
# Guess: a configuration whose second line has a misspelt service is refused, or `notify` reports that
#   one of two channels failed. A webhook counts as reached when it has had the message.
# Seen: `add` returns True, the channel is left out, and `notify` is a success of one channel; only
#   the log tells. A webhook that redirects, as one does behind a login, gets the POST, and the place
#   to which it redirects a GET without the message: its 200 is the success.
# Do: compare the number of channels with the number you expect at the start, and send a first message
#   to each that a person has to confirm.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install apprise==2.2.0

"$folder/venv/bin/python" - "$folder/channels.yml" <<'PY'
import logging
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path

from apprise import Apprise, AppriseConfig

print("apprise", version("apprise"))
logging.disable()
asked = []


class Webhook(BaseHTTPRequestHandler):
    """Takes messages at /works; sends who asks for /moved to a login page."""

    def answer(self):
        size = int(self.headers.get("Content-Length") or 0)
        has_message = b"carts are slow" in self.rfile.read(size)
        asked.append((self.command, self.path, has_message))
        self.send_response(302 if self.path == "/moved" else 200)
        if self.path == "/moved":
            self.send_header("Location", "/login")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


def page(*lines):
    """What is said of a page to the channels of a configuration."""
    asked.clear()
    path = Path(sys.argv[1])
    path.write_text("urls:\n" + "".join(f"  - {line}\n" for line in lines))
    configuration, channels = AppriseConfig(), Apprise()
    added = configuration.add(str(path)) and channels.add(configuration)
    return {"added": added, "success": bool(channels.notify("carts are slow")), "asked": [*asked]}


server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
threading.Thread(target=server.serve_forever, daemon=True).start()
place = f"json://127.0.0.1:{server.server_port}"
seen = {
    "a misspelt second channel": page(f"{place}/works", "slak://one/two/three"),
    "a webhook that redirects": page(f"{place}/moved"),
}
server.shutdown()
recorded = {
    "a misspelt second channel": {
        "added": True,
        "success": True,
        "asked": [("POST", "/works", True)],
    },
    "a webhook that redirects": {
        "added": True,
        "success": True,
        "asked": [("POST", "/moved", True), ("GET", "/login", False)],
    },
}
for what, value in seen.items():
    print(f"{what}: {value}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
