#!/usr/bin/env bash
# slack_sdk 3.48.0: a message whose answer is lost is posted twice.
#
# Guess: a POST that may have been carried out raises its connection error. Whether to send it again
#   is the caller's decision, as a webhook knows no key to tell the two apart.
# Seen: WebhookClient, AsyncWebhookClient and WebClient repeat it by themselves when the connection
#   ends before the answer. The server has got both, and the caller sees one success.
# Do: `retry_handlers=[]`, and repeat only where a doubled message does no harm.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' INT TERM  # once the command that runs has ended
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip -qq --disable-pip-version-check install \
  slack_sdk==3.48.0 aiohttp==3.14.5

"$folder/venv/bin/python" - <<'PY'
import asyncio
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version

from slack_sdk import WebClient
from slack_sdk.webhook import WebhookClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

print("slack_sdk", version("slack_sdk"), "aiohttp", version("aiohttp"))
posted = []


class Slack(BaseHTTPRequestHandler):
    """Takes each message, and loses the answer to the first."""

    def do_POST(self):
        posted.append(self.rfile.read(int(self.headers["Content-Length"])))
        if len(posted) == 1:
            self.close_connection = True
            return
        body = json.dumps({"ok": True}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def sent(send):
    """How often Slack got one message, and what the caller sees."""
    posted.clear()
    try:
        answer = send()
    except Exception as error:
        return len(posted), type(error).__name__
    return len(posted), answer.status_code


server = ThreadingHTTPServer(("127.0.0.1", 0), Slack)
threading.Thread(target=server.serve_forever, daemon=True).start()
url = f"http://127.0.0.1:{server.server_port}/"
text = "carts scaled to 5"
seen = {
    "WebhookClient": sent(lambda: WebhookClient(url).send(text=text)),
    "AsyncWebhookClient": sent(lambda: asyncio.run(AsyncWebhookClient(url).send(text=text))),
    "WebClient": sent(
        lambda: WebClient("token", base_url=url).chat_postMessage(channel="C1", text=text)
    ),
    "WebhookClient, no handlers": sent(
        lambda: WebhookClient(url, retry_handlers=[]).send(text=text)
    ),
}
recorded = {
    "WebhookClient": (2, 200),
    "AsyncWebhookClient": (2, 200),
    "WebClient": (2, 200),
    "WebhookClient, no handlers": (1, "RemoteDisconnected"),
}
for name, (times, answer) in seen.items():
    print(f"{name}: posted {times} times, the caller sees {answer}")
if seen != recorded:
    sys.exit(f"This has changed. Recorded was: {recorded}")
PY
